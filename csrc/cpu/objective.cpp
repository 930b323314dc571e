#include "dds/objective.h"

#include <vector>

#include "kernel_table.h"

namespace dds {

double sum_of_squares(const float* x, int64_t rows, int64_t n, int n_threads) {
  const auto kernel = active_kernels().squares;
  std::vector<double> squares(rows);
#pragma omp parallel for num_threads(n_threads)
  for (int64_t row = 0; row < rows; ++row) squares[row] = kernel(x + row * n, n);
  double total = 0.0;
  for (double value : squares) total += value;
  return total;
}

void frame_residual(const float* entries, const float* activations, const float* target,
                    int64_t n_sources, int64_t n_frames, int64_t n_features, float* residual,
                    int n_threads) {
  const auto kernel = active_kernels().residual;
#pragma omp parallel for num_threads(n_threads)
  for (int64_t t = 0; t < n_frames; ++t) {
    kernel(entries + t * n_features, n_frames * n_features, activations + t, n_frames, n_sources,
           target + t * n_features, n_features, residual + t * n_features);
  }
}

void frame_correlation(const float* entries, const float* residual, int64_t n_sources,
                       int64_t n_frames, int64_t n_features, float* correlation, int n_threads) {
  const auto kernel = active_kernels().correlation;
#pragma omp parallel for num_threads(n_threads)
  for (int64_t i = 0; i < n_sources * n_frames; ++i) {
    correlation[i] =
        kernel(entries + i * n_features, residual + i % n_frames * n_features, n_features);
  }
}

void move_activations(const ActivationTensors& tensors, int n_threads) {
  const auto kernel = active_kernels().activations;
#pragma omp parallel for num_threads(n_threads)
  for (int64_t row = 0; row < tensors.rows; ++row) kernel(tensors, row);
}

}  // namespace dds
