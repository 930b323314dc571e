// A block of rows through all steps of a flow.
#pragma once

#include "flow_pass.h"

namespace dds::DDS_LEVEL {

// Per row, the sum of the log-scales that a thread of the team has made.
static inline CompensatedSum* sums_of_log_scales(const FlowBlock& block, int64_t rank) {
  static_assert(sizeof(CompensatedSum) <= kSumBytes, "room for a sum");
  return reinterpret_cast<CompensatedSum*>(block.scratch.sums + rank * block.scratch.sums_bytes);
}

template <class Activation, class Pass>
static void couple(Pass& pass, int64_t i, const StepStash<Pass::kFormat>& stash) {
  const FlowLayout& layout = pass.layout;
  const FlowStep& step = pass.flow.steps[i];
  const int64_t last = layout.n_layers - 1, group = pass.block.group;
  int64_t stride;
  const auto* input = pass.template operand_of_state<Pass::kFormat>(layout.passing_width, &stride);
  for (int64_t layer = 0; layer < last; ++layer) {
    auto* target = pass.operand(layer + 1);
    pass.template multiply_layer<Way::forward>(
        i, layer, input, stride,
        HiddenEpilogue<Pass::kFormat, Activation>{target, pass.operand_stride(),
                                                  stash.hidden(layer), stash.hidden_stride(layer)});
    input = target;
    stride = pass.operand_stride();
  }
  pass.template multiply_layer<Way::forward>(
      i, last, input, stride,
      AffineEpilogue<typename Operand<Pass::kFormat>::Kept, Pass::kDecode>{
          .moving = pass.state.row(0) + layout.passing_width,
          .stride = pass.state.stride(),
          .bounded = stash.bounded(),
          .moved = stash.moved(),
          .kept_stride = stash.moving_stride(),
          .n_moving = layout.n_moving,
          .alpha = step.alpha[group],
          .beta = step.beta[group],
          .log_scales = sums_of_log_scales(pass.block, pass.block.rank)});
}

template <class Activation, class Pass>
static void forward(Pass& pass, const Stash<Pass::kFormat>& stash) {
  pass.start(Way::forward);
  CompensatedSum* sums = sums_of_log_scales(pass.block, pass.block.rank);
  for (int64_t row = 0; row < pass.block.n_rows; ++row) sums[row] = CompensatedSum();
  for (int64_t i = 0; i < pass.flow.n_steps; ++i) {
    if (!Pass::kDecode) pass.template mix<Way::forward>(i);
    couple<Activation>(pass, i, stash.step(i));
    if (Pass::kDecode) pass.template mix<Way::forward>(i);
  }
}

// The log-determinant of the couplings of a row, after `forward`.
template <class Pass>
static double log_det(const Pass& pass, int64_t row) {
  double total = 0.0;
  for (int64_t rank = 0; rank < pass.block.team_size; ++rank) {
    total += sums_of_log_scales(pass.block, rank)[row].reduce();
  }
  return Pass::kDecode ? -total : total;
}

template <class Activation, class Pass>
static void forward_block(Pass& pass, const ForwardTensors& t) {
  pass.state.read(t.in);
  forward<Activation>(pass, Stash<Pass::kFormat>(pass.flow, pass.block, t.stash));
  pass.state.write(t.out);
  pass.state.for_rows(
      [&](int64_t row) { t.log_det[pass.block.at(row)] = static_cast<float>(log_det(pass, row)); });
}

}  // namespace dds::DDS_LEVEL
