#include "fibers.h"

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

bool can_run(const Fiber& fiber) {
  return !fiber.ended && !(fiber.watched && *fiber.watched == fiber.old);
}

// Runs those of [begin, end) that can, in random order if asked for. Whether there were any.
bool run_round(Scheduler& s, int begin, int end, std::mt19937_64* random) {
  std::vector<int> order;
  for (int i = begin; i < end; ++i) {
    if (can_run(s.fibers[i])) order.push_back(i);
  }
  if (random) std::shuffle(order.begin(), order.end(), *random);
  for (int i : order) {
    s.fibers[i].watched = nullptr;
    go_on(s, i);
    if (s.error) return false;
  }
  return !order.empty();
}

}  // namespace

void Fibers::run(int n, uint64_t seed, const std::vector<int>& team_sizes,
                 const std::function<void(int)>& body) {
  Scheduler s;
  s.fibers.resize(n);
  s.body = &body;
  scheduler = &s;
  if (seed == 0) {
    while (run_round(s, 0, n, nullptr)) {
    }
  } else {
    std::mt19937_64 random(seed);
    while (!s.error) {
      std::vector<int> runnable;
      for (int i = 0; i < n; ++i) {
        if (can_run(s.fibers[i])) runnable.push_back(i);
      }
      if (runnable.empty()) break;
      const int size = team_sizes[random() % team_sizes.size()];
      const int first = runnable[random() % runnable.size()] / size * size;
      while (run_round(s, first, std::min(first + size, n), &random)) {
      }
    }
  }
  scheduler = nullptr;
  if (s.error) std::rethrow_exception(s.error);
  const auto waiting = std::count_if(s.fibers.begin(), s.fibers.end(),
                                     [](const Fiber& fiber) { return !fiber.ended; });
  if (waiting > 0) {
    throw std::runtime_error("deadlock: " + std::to_string(waiting) + " of " + std::to_string(n) +
                             " threads wait for ever");
  }
}

void Fibers::wait_while(const uint64_t* value, uint64_t old) {
  if (*value != old) return;
  Fiber& fiber = scheduler->fibers[scheduler->current];
  fiber.watched = value;
  fiber.old = old;
  if (!_setjmp(fiber.resume)) _longjmp(scheduler->home, 1);
}

}  // namespace dds
