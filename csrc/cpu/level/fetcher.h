// Weights on their way into the cache while a thread computes.
#pragma once

#include "cpu/packed_weights.h"
#include "simd.h"

namespace dds::DDS_LEVEL {

// Brings the weights of the products to come into the second-level cache, a few lines at each turn:
// the memory is busy while the thread computes. It runs ahead evenly, also where a product needs
// weights faster than they come.
class Fetcher {
 public:
  // Lines per turn.
  void set_pace(int64_t bytes, int64_t n_turns) { pace_ = ceil_div(bytes, kLine * n_turns); }

  // Called when `bytes` of weights are about to be read: as much may be fetched beyond them.
  void reading(int64_t bytes) { credit_ += bytes / kLine; }

  bool has_room() const { return next_ == nullptr; }

  void queue(const char* begin, const char* end) {
    if (at_ == end_) {
      at_ = begin;
      end_ = end;
    } else {
      next_ = begin;
      next_end_ = end;
    }
  }

  // Leaves out what is being read by now.
  void skip() {
    at_ = next_;
    end_ = next_ ? next_end_ : nullptr;
    next_ = nullptr;
  }

  bool idle() const { return at_ == end_; }

  inline void turn() {
    const int64_t count = smaller(pace_, credit_);
    for (int64_t i = 0; i < count; ++i, at_ += kLine) {
      if (at_ >= end_) {
        if (!next_) {
          at_ = end_;
          return;
        }
        skip();
      }
      __builtin_prefetch(at_, 0, 2);
      --credit_;
    }
  }

 private:
  static constexpr int64_t kLine = 64;
  // Fetching further ahead than this helps less (measured on a Xeon with 2 MiB of cache per core).
  static constexpr int64_t kLead = 64 << 10;

  const char* at_ = nullptr;
  const char* end_ = nullptr;
  const char* next_ = nullptr;
  const char* next_end_ = nullptr;
  int64_t pace_ = 0;
  int64_t credit_ = kLead / kLine;
};

}  // namespace dds::DDS_LEVEL
