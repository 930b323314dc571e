// What the objective needs beside its matrix products: sums over the residual and over the
// activations, the reconstruction from a dictionary of its own for each frame, and the step of the
// activations.
#pragma once

#include <cstdint>

namespace dds {

// Sum of the squares of (rows, n) numbers, in double precision; independent of the threads.
double sum_of_squares(const float* x, int64_t rows, int64_t n, int n_threads);

// One dictionary entry per source and frame: `entries` (sources, frames, F), `activations`
// (sources, frames), spectra (frames, F).
//
// residual[t] = sum_s activations[s][t] * entries[s][t] - target[t]
void frame_residual(const float* entries, const float* activations, const float* target,
                    int64_t n_sources, int64_t n_frames, int64_t n_features, float* residual,
                    int n_threads);

// correlation[s][t] = <entries[s][t], residual[t]>
void frame_correlation(const float* entries, const float* residual, int64_t n_sources,
                       int64_t n_frames, int64_t n_features, float* correlation, int n_threads);

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

void move_activations(const ActivationTensors& tensors, int n_threads);

}  // namespace dds
