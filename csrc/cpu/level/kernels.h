// The kernels of one instruction-set level; each cpu/kernels_<level>.cpp includes this once.
//
// No function of the standard library is called here: an inline one, compiled with this file's
// flags, could be the copy that the linker keeps for the whole module.
#pragma once

#include "cpu/flow.h"
#include "cpu/kernel_table.h"
#include "elementwise.h"
#include "flow_pass.h"
#include "objective_rows.h"
#include "product_bfloat16.h"
#include "product_float32.h"
#include "simd.h"
#ifdef DDS_AMX
#include "product_amx.h"
#endif
#include "matrix_rows.h"
#include "register_rounds.h"

namespace dds::DDS_LEVEL {

template <Format kFormat>
static void forward(const Flow& flow, const FlowBlock& block, const ForwardTensors& tensors) {
  const bool decode = flow.direction == Direction::decode;
  if (flow.activation == Activation::selu) {
    (decode ? forward_block<kFormat, Selu, true> : forward_block<kFormat, Selu, false>)(flow, block,
                                                                                        tensors);
  } else {
    (decode ? forward_block<kFormat, LeakyRelu, true>
            : forward_block<kFormat, LeakyRelu, false>)(flow, block, tensors);
  }
}

template <Format kFormat>
static void backward(const Flow& flow, const FlowBlock& block, const BackwardTensors& tensors) {
  const bool decode = flow.direction == Direction::decode;
  if (flow.activation == Activation::selu) {
    (decode ? backward_block<kFormat, Selu, true>
            : backward_block<kFormat, Selu, false>)(flow, block, tensors);
  } else {
    (decode ? backward_block<kFormat, LeakyRelu, true>
            : backward_block<kFormat, LeakyRelu, false>)(flow, block, tensors);
  }
}

template <Format kFormat>
static void update(const Flow& flow, const FlowBlock& block, const LatentTensors& tensors) {
  if (flow.activation == Activation::selu) {
    update_block<kFormat, Selu>(flow, block, tensors);
  } else {
    update_block<kFormat, LeakyRelu>(flow, block, tensors);
  }
}

template <Vec (*kFunction)(Vec)>
static void map(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) store(y + i, kFunction(load(x + i, n - i)), n - i);
}

template <Format kFormat>
constexpr FlowKernels kFlowKernels = {forward<kFormat>, backward<kFormat>, update<kFormat>};

template <Format kFormat>
constexpr MatrixKernels kMatrixKernels = {pack_matrix_panel<kFormat>,
                                          multiply_matrix_rows<kFormat>};

static constexpr Kernels kKernels = {
    kLanes,
    {kFlowKernels<Format::float32>, kFlowKernels<Format::bfloat16>, kFlowKernels<Format::split>},
    row_squares,
    add_weighted,
    row_correlation,
    row_of_activations,
    frame_sums,
    {kMatrixKernels<Format::float32>, kMatrixKernels<Format::split>},
    {float_rounds, pair_rounds},
    map<exp>,
    map<expm1_negative>,
    map<tanh>};

}  // namespace dds::DDS_LEVEL
