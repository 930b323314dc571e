// Threads of a cluster as fibers of one host thread: each runs until it has to wait.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace dds {

class Fibers {
 public:
  // Runs body(0), ..., body(n - 1), in that order, or at random if `seed` is not 0. Throws
  // std::runtime_error if all that have not ended wait (a deadlock), and what a body throws.
  static void run(int n, uint64_t seed, const std::function<void(int)>& body);

  // Called by a body: lets others run until *value is no longer `old`.
  static void wait_while(const uint64_t* value, uint64_t old);
};

}  // namespace dds
