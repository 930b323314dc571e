// What a forward pass keeps for the gradient, per row and step: the outputs of the hidden layers as
// operands, the bounded log-scales, and the moving half before an encoding or after a decoding.
//
// A group's stash holds its steps one after the other; a step's tensors likewise, each with all
// rows of the group.
#pragma once

#include "cpu/flow.h"
#include "cpu/flow_block.h"
#include "operand.h"

namespace dds::DDS_LEVEL {

// Of one step, from the block's first row on.
template <Format kFormat>
struct StepStash {
  using Element = typename Operand<kFormat>::Element;
  using Kept = typename Operand<kFormat>::Kept;

  const FlowLayout& layout;
  char* base;      // null: nothing is kept
  int64_t n_rows;  // of the group
  int64_t row;     // the block's first

  Kept* bounded() const { return at<Kept>(row * moving_bytes()); }
  Kept* moved() const { return at<Kept>((n_rows + row) * moving_bytes()); }

  int64_t moving_stride() const { return layout.layers[layout.n_layers - 1].n_panels * kHalfPanel; }

  // Of hidden layer i.
  Element* hidden(int64_t i) const {
    int64_t offset = 2 * moving_bytes() * n_rows;
    for (int64_t j = 0; j < i; ++j) offset += hidden_bytes(j) * n_rows;
    return at<Element>(offset + row * hidden_bytes(i));
  }

  int64_t hidden_stride(int64_t i) const {
    return layout.layers[i].n_panels * kPanel * planes(kFormat);
  }

 private:
  int64_t moving_bytes() const { return moving_stride() * static_cast<int64_t>(sizeof(Kept)); }
  int64_t hidden_bytes(int64_t i) const {
    return hidden_stride(i) * static_cast<int64_t>(sizeof(Element));
  }

  template <class T>
  T* at(int64_t offset) const {
    return base ? reinterpret_cast<T*>(base + offset) : nullptr;
  }
};

// Of all steps of a block: within the batch's stash, which may be null, or the block's own.
template <Format kFormat>
class Stash {
 public:
  Stash(const Flow& flow, const FlowBlock& block, const char* batch)
      : layout_(flow.layout), step_bytes_(stash_row_bytes(flow.layout, 1)) {
    if (block.own_stash) {
      base_ = block.own_stash;
      n_rows_ = block.n_rows;
    } else if (batch) {
      base_ = const_cast<char*>(batch) + block.group_first * flow.n_steps * step_bytes_;
      n_rows_ = block.group_rows;
      row_ = block.row;
    }
  }

  // Keeps nothing.
  explicit Stash(const Flow& flow) : layout_(flow.layout), step_bytes_(0) {}

  StepStash<kFormat> step(int64_t i) const {
    return {layout_, base_ ? base_ + i * step_bytes_ * n_rows_ : nullptr, n_rows_, row_};
  }

 private:
  const FlowLayout& layout_;
  const int64_t step_bytes_;  // of one row
  char* base_ = nullptr;
  int64_t n_rows_ = 0;
  int64_t row_ = 0;
};

}  // namespace dds::DDS_LEVEL
