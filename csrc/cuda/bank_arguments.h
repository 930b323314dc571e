// The arguments of a launch over a flow bank, on the device or emulated.
#pragma once

#include <cstdint>

#include "bank_layout.h"
#include "flow_tensors.h"

namespace dds {

// The latent half-step of a search, like CodeTensors; what changes from step to step lies on the
// device, so that a captured launch can be replayed.
struct BankUpdateTensors {
  // (blocks, rows, F); or (rows, F) where `row_weights` (blocks, rows) says how much of each row a
  // flow takes. Scaled by scalars[0].
  const float* grad_entries;
  const float* row_weights;
  const float* grad_log_likelihoods;  // (blocks, rows)
  const float* scalars;    // scale of grad_entries, step size and correction of Adam's root
  const int32_t* stopped;  // if not 0, nothing moves; or null
  bool data_likelihood;    // with the log-determinant
  int32_t n_fixed;         // leading latent dims that do not move
  float* latents;          // (blocks, rows, F)
  float* first_moment;     // (blocks, rows, F - n_fixed)
  float* second_moment;    // likewise
  float* entries;          // (blocks, rows, F), clipped; their signs gate grad_entries
  float* log_likelihoods;  // (blocks, rows), nats per latent dim that moves
};

struct BankArguments {
  BankPlan plan;
  Direction direction;
  Activation activation;
  int32_t n_blocks;        // of rows, (blocks, rows, F), each through one flow
  const int64_t* groups;   // which; null: the i-th block through the i-th flow
  const char* weights;     // chunks; null where the pass has no use for them
  const char* transposed;  // likewise
  const char* records;     // (groups, steps + 1, record_bytes)
  const float* constants;  // (groups), of the direction's log-determinant
  char* stash;             // (blocks, steps, bank_stash_bytes); null: nothing is kept
  ForwardTensors forward;
  BackwardTensors backward;
  BankUpdateTensors update;
};

// Launches on a stream of the current device, or emulates the launch with the host's memory.
// `order` of the emulation: 0, or the seed of a random order of threads.
// Throw std::runtime_error.
void bank_launch(Pass pass, const BankArguments& arguments, void* stream);
void bank_emulate(Pass pass, const BankArguments& arguments, uint64_t order);

}  // namespace dds
