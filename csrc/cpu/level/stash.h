// What a forward pass keeps for the gradient, per row and step: the outputs of the hidden layers as
// operands, the bounded log-scales, and the moving half before an encoding or after a decoding.
//
// A group's stash holds its steps one after the other; a step's tensors likewise, each with all
// rows of the group.
#pragma once

#include "cpu/packed_weights.h"

namespace dds::DDS_LEVEL {

template <class Element, class Kept>
struct StepStash {
  char* base = nullptr;  // null: nothing is kept
  int64_t n_rows = 0;    // of the group
  int64_t row = 0;       // the block's first
  int64_t moving_stride = 0;

  Kept* bounded() const { return at<Kept>(row * moving_bytes()); }
  Kept* moved() const { return at<Kept>((n_rows + row) * moving_bytes()); }

  // Of hidden layer i.
  Element* hidden(const FlowLayout& layout, int64_t i) const {
    int64_t offset = 2 * moving_bytes() * n_rows;
    for (int64_t j = 0; j < i; ++j) offset += hidden_bytes(layout, j) * n_rows;
    return at<Element>(offset + row * hidden_bytes(layout, i));
  }

  static int64_t hidden_stride(const FlowLayout& layout, int64_t i) {
    return layout.layers[i].n_panels * kPanel * planes(layout.format);
  }

 private:
  int64_t moving_bytes() const { return moving_stride * static_cast<int64_t>(sizeof(Kept)); }

  static int64_t hidden_bytes(const FlowLayout& layout, int64_t i) {
    return hidden_stride(layout, i) * static_cast<int64_t>(sizeof(Element));
  }

  template <class T>
  T* at(int64_t offset) const {
    return base ? reinterpret_cast<T*>(base + offset) : nullptr;
  }
};

}  // namespace dds::DDS_LEVEL
