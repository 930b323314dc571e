// The rows of a block on their way through a flow, shared out among the threads of its team.
#pragma once

#include "cpu/flow.h"
#include "cpu/flow_block.h"
#include "product.h"
#include "simd.h"

namespace dds::DDS_LEVEL {

// This thread's share of n pieces of the team's work.
static inline Range share(const FlowBlock& block, int64_t n) {
  return {n * block.rank / block.team_size, n * (block.rank + 1) / block.team_size};
}

// What one thread of the team sees of them.
class BlockState {
 public:
  BlockState(const FlowLayout& layout, const FlowBlock& block)
      : layout_(layout), block_(block), state_(block.scratch.states[0]) {}

  // function(row) for the rows of this thread.
  template <class Function>
  void for_rows(const Function& function) const {
    const Range mine = share(block_, block_.n_rows);
    for (int64_t row = mine.begin; row < mine.end; ++row) function(row);
  }

  // For the other threads.
  void wait() const {
    if (block_.team_size > 1) block_.barrier(block_.team);
  }

  int64_t stride() const { return block_.scratch.state_stride; }
  float* row(int64_t i) const { return state_ + i * stride(); }

  // Where the next state is made, and going on with it.
  float* next() const { return block_.scratch.states[state_ == block_.scratch.states[0]]; }
  void advance() { state_ = next(); }

  // F floats to their places in a row of the state; the places between are zeros.
  void place(const float* in, float* to) const {
    const int64_t gap = layout_.passing_width - layout_.n_passing;
    __builtin_memcpy(to, in, layout_.n_passing * 4);
    __builtin_memset(to + layout_.n_passing, 0, gap * 4);
    __builtin_memcpy(to + layout_.passing_width, in + layout_.n_passing, layout_.n_moving * 4);
    __builtin_memset(to + layout_.passing_width + layout_.n_moving, 0,
                     (layout_.moving_width - layout_.n_moving) * 4);
  }

  // And back.
  void gather_row(int64_t i, float* out) const {
    __builtin_memcpy(out, row(i), layout_.n_passing * 4);
    __builtin_memcpy(out + layout_.n_passing, row(i) + layout_.passing_width, layout_.n_moving * 4);
  }

  // The block's rows of a tensor.
  void read(const float* in) {
    for_rows([&](int64_t i) { place(in + block_.at(i) * layout_.n_features(), row(i)); });
    wait();
  }

  void write(float* out) const {
    for_rows([&](int64_t i) { gather_row(i, out + block_.at(i) * layout_.n_features()); });
  }

  // `permutation`: (groups, state_width).
  void permute(const int32_t* permutation) {
    permutation += block_.group * layout_.state_width;
    for_rows([&](int64_t i) {
      const float* from = row(i);
      float* to = next() + i * stride();
      for (int64_t k = 0; k < layout_.state_width; k += kLanes) {
        store(to + k, gather(from, permutation + k));
      }
    });
    wait();
    advance();
  }

 private:
  const FlowLayout& layout_;
  const FlowBlock& block_;
  float* state_;
};

}  // namespace dds::DDS_LEVEL
