// The kernels of one instruction-set level: compiled once for each, with flags of its own.
//
// No function of the standard library is called here: an inline one, compiled with this file's
// flags, could be the copy that the linker keeps for the whole module.
#include "cpu/kernels.h"

#include "backward_pass.h"
#include "code_update.h"
#include "elementwise.h"
#include "forward_pass.h"
#include "matrix_rows.h"
#include "nmf_candidates.h"
#include "nmf_elementwise.h"
#include "objective_rows.h"
#include "product_bfloat16.h"
#include "product_float32.h"
#ifdef DDS_AMX
#include "product_amx.h"
#endif

namespace dds::DDS_LEVEL {

// run(pass, activation) with a pass in this direction and the flow's activation.
template <Format kFormat, bool kDecode, class Run>
static inline void with_activation(const Flow& flow, const FlowBlock& block, const Run& run) {
  FlowPass<kFormat, kDecode> pass(flow, block);
  if (flow.activation == Activation::selu) {
    run(pass, Selu());
  } else {
    run(pass, LeakyRelu());
  }
}

// The same in the flow's direction.
template <Format kFormat, class Run>
static inline void with_direction(const Flow& flow, const FlowBlock& block, const Run& run) {
  if (flow.direction == Direction::decode) {
    with_activation<kFormat, true>(flow, block, run);
  } else {
    with_activation<kFormat, false>(flow, block, run);
  }
}

template <Format kFormat>
static constexpr FlowKernels kFlowKernels = {
    .forward =
        [](const Flow& flow, const FlowBlock& block, const ForwardTensors& tensors) {
          with_direction<kFormat>(flow, block, [&](auto& pass, auto activation) {
            forward_block<decltype(activation)>(pass, tensors);
          });
        },
    .backward =
        [](const Flow& flow, const FlowBlock& block, const BackwardTensors& tensors) {
          with_direction<kFormat>(flow, block, [&](auto& pass, auto activation) {
            backward_block<decltype(activation)>(pass, tensors);
          });
        },
    .decode =
        [](const Flow& flow, const FlowBlock& block, const CodeTensors& tensors) {
          with_activation<kFormat, true>(flow, block, [&](auto& pass, auto activation) {
            decode_block<decltype(activation)>(pass, tensors);
          });
        },
    .update =
        [](const Flow& flow, const FlowBlock& block, const CodeTensors& tensors) {
          with_activation<kFormat, true>(flow, block, [&](auto& pass, auto activation) {
            update_block<decltype(activation)>(pass, tensors);
          });
        }};

template <Format kFormat>
static constexpr MatrixKernels kMatrixKernels = {.pack_panel = pack_matrix_panel<kFormat>,
                                                 .multiply_rows = multiply_matrix_rows<kFormat>};

extern const Kernels kernels;
constinit const Kernels kernels = {
    .lanes = kLanes,
    .flow = {kFlowKernels<Format::float32>, kFlowKernels<Format::bfloat16>,
             kFlowKernels<Format::split>},
    .matrix = {kMatrixKernels<Format::float32>, kMatrixKernels<Format::split>},
    .objective = {.squares = row_squares,
                  .add_weighted = add_weighted,
                  .correlation = row_correlation,
                  .activations = row_of_activations,
                  .frame_sums = frame_sums},
    .nmf = {.residual = residual,
            .ratio = ratio,
            .quotient = quotient,
            .adam = adam,
            .adam_gram = adam_gram,
            .gram_cost = gram_cost,
            .refine = refine}};

}  // namespace dds::DDS_LEVEL
