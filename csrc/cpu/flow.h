// A frozen flow (bank) on rows: forward in either direction, gradient to the rows, and the latent
// half of an update step (gradient, Adam, decode).
//
// With [a | b] the passing and the moving half of a row and [r | t] = MLP(a), s = alpha tanh r +
// beta, a coupling encodes b' = e^s b + t and decodes b = (b' - t) e^-s. A mixing, a permutation or
// a dense matrix, precedes the coupling in the encode direction and follows it in decode.
#pragma once

#include <cstdint>

#include "buffer.h"
#include "flow_tensors.h"
#include "packed_weights.h"

namespace dds {

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

// What a search asks of the decoded rows, to move their codes by.
struct CodeGradient {
  // (groups, rows, F); or (rows, F) where `row_weights` (groups, rows) says how much of each row a
  // group takes. Multiplied by `scale`.
  const float* entries;
  const float* row_weights;
  const float* log_likelihoods;  // (groups, rows)
  float scale;
};

// The latent half of a search, with decode's direction: codes, what they decode to, and Adam.
struct CodeTensors {
  bool data_likelihood;    // with the log-determinant
  int64_t n_fixed;         // leading latent dims that do not move
  float* codes;            // (groups, rows, F)
  float* entries;          // (groups, rows, F), clipped; their signs gate the gradient
  const float* constants;  // (groups) constant log-determinants of the mixings
  float* log_likelihoods;  // (groups, rows), nats per latent dim that moves
  float* first_moment;     // (groups, rows, F - n_fixed)
  float* second_moment;    // likewise
  char* stash;             // of the decode; null: made anew for each block of rows
  CodeGradient gradient;
  float step_size;       // with Adam's bias correction: step_size / (1 - beta1^t)
  float rms_correction;  // 1 / sqrt(1 - beta2^t)
};

// `scratch` grows to what a call needs: `scratch_bytes` of a batch, more for an update that has no
// stash.
int64_t scratch_bytes(const Flow& flow, const Batch& batch, int n_threads);

void flow_forward(const Flow& flow, const Batch& batch, const ForwardTensors& tensors,
                  Buffer& scratch, int n_threads);
void flow_backward(const Flow& flow, const Batch& batch, const BackwardTensors& tensors,
                   Buffer& scratch, int n_threads);

// Entries, log-likelihoods and stash from the codes.
void flow_decode(const Flow& flow, const Batch& batch, const CodeTensors& tensors, Buffer& scratch,
                 int n_threads);

// Backward, Adam, decode.
void flow_update(const Flow& flow, const Batch& batch, const CodeTensors& tensors, Buffer& scratch,
                 int n_threads);

}  // namespace dds
