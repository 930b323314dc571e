// The stream of weights: chunks on their way into shared memory, several at a time, across the
// bounds of layers and steps.
#pragma once

#include "bank_arguments.h"
#include "machine.h"

namespace dds {

template <class Machine>
class ChunkRing {
 public:
  DDS_DEVICE ChunkRing(Machine& machine, const BankPlan& plan)
      : machine_(machine),
        barriers_(reinterpret_cast<uint64_t*>(machine.shared() + plan.barriers)),
        stages_(machine.shared() + plan.stages),
        n_stages_(plan.n_stages) {}

  // The chunks of `n_steps` steps, `stride` bytes from one to the next. Up to two walks are queued.
  DDS_DEVICE void queue(const char* first, int64_t stride, int n_chunks, int n_steps) {
    queued_ = {first, stride, n_chunks, n_steps};
    if (walk_.n_steps == 0) take_queued();
  }

  DDS_DEVICE void start() {
    for (int stage = 0; stage < n_stages_; ++stage) fetch(stage);
  }

  // The next chunk, once it is there.
  DDS_DEVICE const char* acquire() {
    machine_.wait(barriers_ + stage_, parity_);
    return stages_ + stage_ * kChunkBytes;
  }

  // Gives its place to a chunk to come; all threads have read it and met.
  DDS_DEVICE void release() {
    fetch(stage_);
    if (++stage_ == n_stages_) {
      stage_ = 0;
      parity_ ^= 1;
    }
  }

 private:
  struct Walk {
    const char* step;
    int64_t stride;
    int n_chunks;
    int n_steps;
  };

  DDS_DEVICE void take_queued() {
    walk_ = queued_;
    queued_.n_steps = 0;
    chunk_ = 0;
  }

  DDS_DEVICE void fetch(int stage) {
    if (walk_.n_steps == 0) return;
    machine_.fetch(stages_ + stage * kChunkBytes,
                   walk_.step + static_cast<int64_t>(chunk_) * kChunkBytes, barriers_ + stage);
    if (++chunk_ < walk_.n_chunks) return;
    chunk_ = 0;
    walk_.step += walk_.stride;
    if (--walk_.n_steps == 0) take_queued();
  }

  Machine& machine_;
  uint64_t* barriers_;
  char* stages_;
  const int n_stages_;
  Walk walk_ = {}, queued_ = {};
  int chunk_ = 0;  // of the walk's step, to be fetched next
  int stage_ = 0;  // to be read next
  unsigned parity_ = 0;
};

}  // namespace dds
