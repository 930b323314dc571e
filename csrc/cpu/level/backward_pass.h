// Gradients of a block of rows through all steps of a flow, from the result to the input.
#pragma once

#include "flow_pass.h"

namespace dds::DDS_LEVEL {

template <class Activation, class Pass>
static void uncouple(Pass& pass, int64_t i, const StepStash<Pass::kFormat>& stash,
                     const float* grad_log_det) {
  constexpr Format kFormat = Pass::kFormat;
  const FlowLayout& layout = pass.layout;
  const FlowStep& step = pass.flow.steps[i];
  const float alpha = step.alpha[pass.block.group], beta = step.beta[pass.block.group];
  const int64_t last = layout.n_layers - 1, stride = pass.operand_stride();
  pass.state.for_rows([&](int64_t row) {
    affine_backward<kFormat, Pass::kDecode>(
        pass.state.row(row) + layout.passing_width, stash.bounded() + row * stash.moving_stride(),
        stash.moved() + row * stash.moving_stride(), alpha, beta,
        grad_log_det ? grad_log_det[row] : 0.0f, layout.layers[last].n_panels,
        pass.operand(0) + row * stride, plane_of(kFormat, stride));
  });
  pass.state.wait();
  for (int64_t layer = last; layer > 0; --layer) {
    pass.template multiply_layer<Way::backward>(
        i, layer, pass.operand(last - layer), stride,
        SlopeEpilogue<kFormat, Activation>{pass.operand(last - layer + 1), stride,
                                           stash.hidden(layer - 1),
                                           stash.hidden_stride(layer - 1)});
  }
  pass.template multiply_layer<Way::backward>(i, 0, pass.operand(last), stride,
                                              AddEpilogue{pass.state.row(0), pass.state.stride()});
}

// In the state. `grad_log_det`: per row of the block, or null.
template <class Activation, class Pass>
static void backward(Pass& pass, const Stash<Pass::kFormat>& stash, const float* grad_log_det) {
  pass.start(Way::backward);
  for (int64_t i = pass.flow.n_steps - 1; i >= 0; --i) {
    if (Pass::kDecode) pass.template mix<Way::backward>(i);
    uncouple<Activation>(pass, i, stash.step(i), grad_log_det);
    if (!Pass::kDecode) pass.template mix<Way::backward>(i);
  }
}

template <class Activation, class Pass>
static void backward_block(Pass& pass, const BackwardTensors& t) {
  float* grad_log_det = t.grad_log_det ? pass.block.scratch.row_values : nullptr;
  if (grad_log_det) {
    pass.state.for_rows(
        [&](int64_t row) { grad_log_det[row] = t.grad_log_det[pass.block.at(row)]; });
  }
  pass.state.read(t.grad_out);
  backward<Activation>(pass, Stash<Pass::kFormat>(pass.flow, pass.block, t.stash), grad_log_det);
  pass.state.write(t.grad_in);
}

}  // namespace dds::DDS_LEVEL
