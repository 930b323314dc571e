// The grouped coupling step in float32: forward and gradient to the input.
//
// With [a | b] the passing and the moving half of a row and [r | t] = MLP(a), s = alpha tanh r +
// beta: encode b' = e^s b + t, decode b = (b' - t) e^-s. All matrices are row-major and contiguous
// unless a stride is given; sizes and strides count floats.
#pragma once

#include <cstdint>

#include "dds/packed_weights.h"

namespace dds {

enum class Activation { selu, leaky_relu };
enum class Direction { encode, decode };

// Rows that one thread takes through all layers: their activations stay in its second-level cache.
constexpr int64_t kMaxRowBlock = 96;

struct Coupling {
  int64_t groups;
  int64_t rows;
  int64_t n_passing;
  int64_t n_moving;
  Activation activation;
  Direction direction;
  const float* alpha;   // (groups)
  const float* beta;    // (groups)
  const float* packed;  // see packed_weights.h
  int64_t packed_size;  // of one group
  const PackedLayer* layers;
  int64_t n_layers;
  int64_t scratch_rows;    // of a scratch buffer
  int64_t scratch_stride;  // of its rows
};

struct ForwardTensors {
  const float* x;        // (groups, rows, n_passing + n_moving)
  float* out;            // likewise
  float* log_det;        // (groups, rows)
  float* const* hidden;  // per hidden layer (groups, rows, width), or null: no stash
  float* bounded;        // (groups, rows, n_moving), or null: no stash
  float* scale;          // likewise
  float* moved;          // likewise; written in decode only
};

struct BackwardTensors {
  const float* const* hidden;
  const float* bounded;
  const float* scale;
  const float* moved;
  int64_t moved_group_stride;
  int64_t moved_row_stride;
  const float* grad_out;
  const float* grad_log_det;  // or null
  float* grad_x;
};

// What one instruction-set level provides. The step functions take `count` rows of one group from
// `row` on through all layers.
struct Kernels {
  void (*forward)(const Coupling&, const ForwardTensors&, int64_t group, int64_t row, int64_t count,
                  float* scratch);
  void (*backward)(const Coupling&, const BackwardTensors&, int64_t group, int64_t row,
                   int64_t count, float* scratch);
  void (*exp)(const float* x, float* y, int64_t n);
  void (*expm1_negative)(const float* x, float* y, int64_t n);
  void (*tanh)(const float* x, float* y, int64_t n);
};

extern const Kernels kernels_portable;
#ifdef DDS_X86_KERNELS
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;
#endif

// The kernels of the active level.
const Kernels& active_kernels();

// Each thread has two scratch buffers of scratch_rows x scratch_stride floats.
int64_t scratch_rows(int64_t rows);
int64_t scratch_stride(const Widths& widths);
int64_t scratch_size(const Widths& widths, int64_t rows, int n_threads);

void coupling_forward(const Coupling& coupling, const ForwardTensors& tensors, float* scratch,
                      int n_threads);
void coupling_backward(const Coupling& coupling, const BackwardTensors& tensors, float* scratch,
                       int n_threads);

}  // namespace dds
