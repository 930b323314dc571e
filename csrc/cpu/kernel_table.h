// What one instruction-set level provides, as plain functions.
#pragma once

#include <cstdint>

#include "flow.h"
#include "flow_block.h"
#include "matrix_product.h"
#include "objective.h"

namespace dds {

struct FlowKernels {
  void (*forward)(const Flow&, const FlowBlock&, const ForwardTensors&);
  void (*backward)(const Flow&, const FlowBlock&, const BackwardTensors&);
  void (*update)(const Flow&, const FlowBlock&, const LatentTensors&);
};

// Most rows of a left factor at a time, and the bytes that one of them takes as an operand: two
// planes of whole panels, and an odd number of cache lines.
constexpr int64_t kMatrixRows = 64;
static constexpr int64_t matrix_row_bytes(int64_t k) {
  return (2 * round_up(k, kPanel) + kPanel) * 2;
}

struct MatrixKernels {
  void (*pack_panel)(const MatrixProduct& product, int64_t panel, char* packed);
  void (*multiply_rows)(const MatrixProduct& product, int64_t begin, int64_t end,
                        const PackedLayer& layer, const char* packed, char* operands);
};

struct Kernels {
  int64_t lanes;        // numbers per vector
  FlowKernels flow[3];  // by format
  double (*squares)(const float* x, int64_t n);
  void (*add_weighted)(const float* x, int64_t x_stride, const float* weights, int64_t n_rows,
                       int64_t n, float* y, int64_t y_stride);
  float (*correlation)(const float* x, const float* y, int64_t n);
  int64_t (*activations)(const ActivationTensors& tensors, int64_t row);
  void (*frame_sums)(const ActivationTensors& tensors, int64_t first, float epsilon);
  MatrixKernels matrix[2];                                       // float32, split
  int64_t (*multiply_registers[2])(int64_t rounds, float* sum);  // float32, bfloat16
  void (*exp)(const float* x, float* y, int64_t n);
  void (*expm1_negative)(const float* x, float* y, int64_t n);
  void (*tanh)(const float* x, float* y, int64_t n);
};

extern const Kernels kernels_portable;
#ifdef DDS_X86_KERNELS
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;
extern const Kernels kernels_avx512_bf16;
extern const Kernels kernels_amx;
#endif

// The kernels of the active level.
const Kernels& active_kernels();

}  // namespace dds
