// A frozen flow (bank) on rows: forward in either direction, gradient to the rows, and the latent
// half of an update step (gradient, Adam, decode).
//
// With [a | b] the passing and the moving half of a row and [r | t] = MLP(a), s = alpha tanh r +
// beta, a coupling encodes b' = e^s b + t and decodes b = (b' - t) e^-s. A mixing, a permutation or
// a dense matrix, precedes the coupling in the encode direction and follows it in decode.
#pragma once

#include <cstdint>

#include "packed_weights.h"

namespace dds {

enum class Activation { selu, leaky_relu };
enum class Direction { encode, decode };

struct FlowStep {
  const char* coupling;        // packed, of group 0
  const float* alpha;          // (groups)
  const float* beta;           // (groups)
  const int32_t* permutation;  // (groups, state_width): place i takes permutation[i]; or null
  const int32_t* adjoint;      // its inverse
  const char* mixing;          // packed, of group 0; or null
};

struct Flow {
  FlowLayout layout;
  Direction direction;
  Activation activation;
  const FlowStep* steps;  // in the order in which the direction applies them
  int64_t n_steps;
};

// Rows (groups, rows, F), row-major and contiguous like all matrices; the i-th group passes through
// the i-th flow. All of them, or those that are listed.
struct Batch {
  int64_t n_groups;
  int64_t n_rows;          // per group
  const int64_t* offsets;  // (n_groups + 1) where each group's list begins; null: all rows
  const int64_t* listed;   // indices among the groups * rows, ascending
};

// Bytes that a forward pass keeps per row for the gradient.
int64_t stash_row_bytes(const FlowLayout& layout, int64_t n_steps);

struct ForwardTensors {
  const float* in;  // (groups, rows, F)
  float* out;       // likewise
  float* log_det;   // (groups, rows), without the mixings' constants
  char* stash;      // of all rows that pass, stash_row_bytes each; or null
};

struct BackwardTensors {
  const char* stash;
  const float* grad_out;      // (groups, rows, F)
  const float* grad_log_det;  // (groups, rows); or null
  float* grad_in;             // (groups, rows, F)
};

// The latent half-step of a search, with decode's direction: from the gradients to the decoded
// entries and to their log-likelihoods, through the flow, to new latents and new entries.
struct LatentTensors {
  // (groups, rows, F); or (rows, F) where `row_weights` (groups, rows) says how much of each row a
  // group takes. Scaled by grad_scale.
  const float* grad_entries;
  const float* row_weights;
  const float* grad_log_likelihoods;  // (groups, rows)
  float grad_scale;
  bool data_likelihood;    // with the log-determinant
  int64_t n_fixed;         // leading latent dims that do not move
  float step_size;         // with Adam's bias correction: step_size / (1 - beta1^t)
  float rms_correction;    // 1 / sqrt(1 - beta2^t)
  float* latents;          // (groups, rows, F)
  float* first_moment;     // (groups, rows, F - n_fixed)
  float* second_moment;    // likewise
  float* entries;          // (groups, rows, F), clipped; their signs gate grad_entries
  const float* constants;  // (groups) constant log-determinants of the mixings
  float* log_likelihoods;  // (groups, rows), nats per latent dim that moves
  char* stash;             // read, then written; null: made anew for each block of rows
};

// Workspace that the calls below need, in bytes; `own_stash` for an update without a stash.
int64_t scratch_bytes(const Flow& flow, const Batch& batch, bool own_stash, int n_threads);

void flow_forward(const Flow& flow, const Batch& batch, const ForwardTensors& tensors,
                  char* scratch, int n_threads);
void flow_backward(const Flow& flow, const Batch& batch, const BackwardTensors& tensors,
                   char* scratch, int n_threads);
void flow_update(const Flow& flow, const Batch& batch, const LatentTensors& tensors, char* scratch,
                 int n_threads);

}  // namespace dds
