// Threads of a cluster as fibers of one host thread: each runs until it has to wait.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace dds {

class Fibers {
 public:
  // Runs body(0), ..., body(n - 1): side by side in that order or, if `seed` is not 0, at random. A
  // team of one of the given sizes, drawn anew each time, then runs for as long as it can while all
  // others stand still. Throws what a body throws, and std::runtime_error if in the end some wait
  // (a deadlock).
  static void run(int n, uint64_t seed, const std::vector<int>& team_sizes,
                  const std::function<void(int)>& body);

  // Called by a body: lets others run until *value is no longer `old`.
  static void wait_while(const uint64_t* value, uint64_t old);
};

}  // namespace dds
