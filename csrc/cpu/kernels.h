// What one instruction-set level provides, as plain functions.
#pragma once

#include <cstdint>

#include "flow.h"
#include "flow_block.h"
#include "matrix_product.h"
#include "nmf.h"
#include "objective.h"

namespace dds {

struct FlowKernels {
  void (*forward)(const Flow&, const FlowBlock&, const ForwardTensors&);
  void (*backward)(const Flow&, const FlowBlock&, const BackwardTensors&);
  void (*decode)(const Flow&, const FlowBlock&, const CodeTensors&);
  void (*update)(const Flow&, const FlowBlock&, const CodeTensors&);
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

struct ObjectiveKernels {
  double (*squares)(const float* x, int64_t n);
  void (*add_weighted)(const float* x, int64_t x_stride, const float* weights, int64_t n_rows,
                       int64_t n, float* y, int64_t y_stride);
  float (*correlation)(const float* x, const float* y, int64_t n);
  int64_t (*activations)(const ActivationTensors& tensors, int64_t row);
  void (*frame_sums)(const ActivationTensors& tensors, int64_t first, float epsilon);
};

// Each candidate matrix row and vector is padded to a whole number of the widest vectors.
constexpr int64_t kCandidatePadding = 16;

struct NmfKernels {
  double (*residual)(const float* target, float* approximation, int64_t n);
  void (*ratio)(const float* numerator, const float* denominator, float epsilon, float* values,
                int64_t n);
  void (*quotient)(const float* target, float epsilon, float* approximation, int64_t n);
  void (*adam)(const float* gradient, float scale, const AdamTensors& tensors);
  void (*adam_gram)(const double* product, const double* target, double scale, double* wide,
                    const AdamTensors& tensors);
  double (*gram_cost)(const double* values, const double* product, const double* target, int64_t n);
  void (*refine)(const Candidates& candidates, int64_t frame, float* scratch);
};

struct Kernels {
  int64_t lanes;            // numbers per vector
  FlowKernels flow[3];      // by format
  MatrixKernels matrix[2];  // float32, split
  ObjectiveKernels objective;
  NmfKernels nmf;
};

}  // namespace dds
