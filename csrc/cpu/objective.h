// What the objective needs beside products of whole matrices: products over the activations that
// are not clipped, sums over the residual and over the activations, and the step of the
// activations.
#pragma once

#include <cstdint>

namespace dds {

// Sum of the squares of (rows, n) numbers, in double precision; independent of the threads.
double sum_of_squares(const float* x, int64_t rows, int64_t n, int n_threads);

// Dictionary entries of F numbers: one per row of the activations and frame, (rows, frames, F), or
// shared by all frames, (rows, F).
struct Entries {
  const float* values;
  int64_t row_stride;
  int64_t frame_stride;
  int64_t n_features;

  static Entries of_each_frame(const float* values, int64_t n_frames, int64_t n_features) {
    return {values, n_frames * n_features, n_features, n_features};
  }
  static Entries shared(const float* values, int64_t n_features) {
    return {values, n_features, 0, n_features};
  }
};

// Clipped activations (rows, frames).
struct Active {
  const float* values;
  int64_t rows;
  int64_t frames;
};

// residual[t] = sum_j active[j][t] * entries[j][t] - target[t], (frames, F)
void sparse_residual(const Entries& entries, const Active& active, const float* target,
                     float* residual, int n_threads);

// gradient[j] = sum_t active[j][t] * residual[t], (rows, F)
void sparse_gradient(const Active& active, const float* residual, int64_t n_features,
                     float* gradient, int n_threads);

// correlation[j][t] = <entries[j][t], residual[t]>, (rows, frames), where active[j][t] is positive.
void sparse_correlation(const Entries& entries, const Active& active, const float* residual,
                        float* correlation, int n_threads);

// Adam on activations H (rows, frames), from the correlations of the residual with the entries:
//
//   gradient = correlation / norm - penalty (l - attributed) / total + sparsity,
//              0 where H was clipped
//
// where l is one number per row, or per row and frame.
struct ActivationTensors {
  int64_t rows;
  int64_t frames;
  const float* correlation;
  float inverse_norm;
  const float* log_likelihoods;  // (rows), or (rows, frames) if `per_frame`
  bool per_frame;
  float* sums;        // (frames) of the activations
  float* total;       // (frames) sums + epsilon
  float* attributed;  // (frames) sum over the rows of activation * l / total
  float penalty;
  float sparsity;
  float step_size;       // with Adam's bias correction: step_size / (1 - beta1^t)
  float rms_correction;  // 1 / sqrt(1 - beta2^t)
  float* activations;
  float* first_moment;
  float* second_moment;
  float* active;  // max(H, 0), which also tells what was clipped
};

// Makes `sums`, `total` and `attributed`.
void sum_activations(const ActivationTensors& tensors, float epsilon, int n_threads);

// The gradient of the penalty to the log-likelihoods, of as many numbers as these are.
void likelihood_gradient(const ActivationTensors& tensors, float* gradient, int n_threads);

// Returns how many activations are positive afterwards.
int64_t move_activations(const ActivationTensors& tensors, int n_threads);

}  // namespace dds
