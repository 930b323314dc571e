#include "emulation/fibers.h"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace dds {
namespace {

constexpr size_t kStackBytes = 64 << 10;

struct Fiber {
  std::unique_ptr<char[]> stack;
  ucontext_t context;
  jmp_buf resume;
  bool started = false, ended = false;
  const uint64_t* watched = nullptr;
  uint64_t old = 0;
};

struct Scheduler {
  std::vector<Fiber> fibers;
  int current = 0;
  jmp_buf home;
  ucontext_t home_context;
  const std::function<void(int)>* body;
  std::exception_ptr error;
};

thread_local Scheduler* scheduler = nullptr;

// Contexts start the fibers; the jumps between started ones need no system call.
void begin() {
  Scheduler& s = *scheduler;
  try {
    (*s.body)(s.current);
  } catch (...) {
    s.error = std::current_exception();
  }
  s.fibers[s.current].ended = true;
  _longjmp(s.home, 1);
}

void go_on(Scheduler& s, int i) {
  Fiber& fiber = s.fibers[i];
  s.current = i;
  if (_setjmp(s.home)) return;
  if (fiber.started) _longjmp(fiber.resume, 1);
  fiber.started = true;
  fiber.stack.reset(new char[kStackBytes]);
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, begin, 0);
  swapcontext(&s.home_context, &fiber.context);
}

}  // namespace

void Fibers::run(int n, uint64_t seed, const std::function<void(int)>& body) {
  Scheduler s;
  s.fibers.resize(n);
  s.body = &body;
  scheduler = &s;
  std::vector<int> order(n);
  for (int i = 0; i < n; ++i) order[i] = i;
  std::mt19937_64 random(seed);
  int n_ended = 0;
  while (n_ended < n && !s.error) {
    if (seed) std::shuffle(order.begin(), order.end(), random);
    bool moved = false;
    for (int i : order) {
      Fiber& fiber = s.fibers[i];
      if (fiber.ended || (fiber.watched && *fiber.watched == fiber.old)) continue;
      fiber.watched = nullptr;
      go_on(s, i);
      moved = true;
      n_ended += fiber.ended;
      if (s.error) break;
    }
    if (!moved) {
      scheduler = nullptr;
      throw std::runtime_error("deadlock: " + std::to_string(n - n_ended) + " of " +
                               std::to_string(n) + " threads wait for ever");
    }
  }
  scheduler = nullptr;
  if (s.error) std::rethrow_exception(s.error);
}

void Fibers::wait_while(const uint64_t* value, uint64_t old) {
  if (*value != old) return;
  Fiber& fiber = scheduler->fibers[scheduler->current];
  fiber.watched = value;
  fiber.old = old;
  if (!_setjmp(fiber.resume)) _longjmp(scheduler->home, 1);
}

}  // namespace dds
