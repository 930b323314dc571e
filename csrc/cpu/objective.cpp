#include "objective.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "levels.h"

namespace dds {

double sum_of_squares(const float* x, int64_t rows, int64_t n, int n_threads) {
  const auto kernel = active_kernels().objective.squares;
  std::vector<double> squares(rows);
#pragma omp parallel for num_threads(n_threads)
  for (int64_t row = 0; row < rows; ++row) squares[row] = kernel(x + row * n, n);
  double total = 0.0;
  for (double value : squares) total += value;
  return total;
}

// work(first, n) for blocks of so many frames that the residual stays in the cache while one source
// after the other is read in long runs: entries that are read a line at a time from all sources
// come at a third of the speed.
template <class Work>
static void for_each_block(int64_t n_frames, int64_t n_features, int n_threads, const Work& work) {
  constexpr int64_t kBlock = 1 << 14;
  const int64_t shared = (n_frames + n_threads - 1) / n_threads;
  const int64_t block = std::clamp<int64_t>(kBlock / n_features, 1, std::max<int64_t>(shared, 1));
#pragma omp parallel for num_threads(n_threads)
  for (int64_t t = 0; t < n_frames; t += block) work(t, std::min(block, n_frames - t));
}

static const float* entry(const Entries& entries, int64_t j, int64_t t) {
  return entries.values + j * entries.row_stride + t * entries.frame_stride;
}

void sparse_residual(const Entries& entries, const Active& active, const float* target,
                     float* residual, int n_threads) {
  const auto kernel = active_kernels().objective.add_weighted;
  const int64_t n_frames = active.frames, n_features = entries.n_features;
  for_each_block(n_frames, n_features, n_threads, [&](int64_t t, int64_t n) {
    const int64_t at = t * n_features;
    std::transform(target + at, target + at + n * n_features, residual + at, std::negate<float>());
    for (int64_t j = 0; j < active.rows; ++j) {
      kernel(entry(entries, j, t), entries.frame_stride, active.values + j * n_frames + t, n,
             n_features, residual + at, n_features);
    }
  });
}

void sparse_gradient(const Active& active, const float* residual, int64_t n_features,
                     float* gradient, int n_threads) {
  const auto kernel = active_kernels().objective.add_weighted;
#pragma omp parallel for num_threads(n_threads)
  for (int64_t j = 0; j < active.rows; ++j) {
    float* row = gradient + j * n_features;
    std::fill(row, row + n_features, 0.0f);
    kernel(residual, n_features, active.values + j * active.frames, active.frames, n_features, row,
           0);
  }
}

void sparse_correlation(const Entries& entries, const Active& active, const float* residual,
                        float* correlation, int n_threads) {
  const auto kernel = active_kernels().objective.correlation;
  const int64_t n_frames = active.frames, n_features = entries.n_features;
  for_each_block(n_frames, n_features, n_threads, [&](int64_t first, int64_t n) {
    for (int64_t j = 0; j < active.rows; ++j) {
      for (int64_t t = first; t < first + n; ++t) {
        if (!(active.values[j * n_frames + t] > 0.0f)) continue;
        correlation[j * n_frames + t] =
            kernel(entry(entries, j, t), residual + t * n_features, n_features);
      }
    }
  });
}

void sum_activations(const ActivationTensors& tensors, float epsilon, int n_threads) {
  const auto kernel = active_kernels().objective.frame_sums;
  const int64_t width = active_kernels().lanes;
#pragma omp parallel for num_threads(n_threads)
  for (int64_t t = 0; t < tensors.frames; t += width) kernel(tensors, t, epsilon);
}

void likelihood_gradient(const ActivationTensors& tensors, float* gradient, int n_threads) {
  const auto kernel = active_kernels().objective.correlation;
  const int64_t n_frames = tensors.frames;
  std::vector<float> shares(n_frames);
  for (int64_t t = 0; t < n_frames; ++t) shares[t] = -tensors.penalty / tensors.total[t];
#pragma omp parallel for num_threads(n_threads)
  for (int64_t row = 0; row < tensors.rows; ++row) {
    const float* active = tensors.active + row * n_frames;
    if (tensors.per_frame) {
      std::transform(active, active + n_frames, shares.data(), gradient + row * n_frames,
                     std::multiplies<float>());
    } else {
      gradient[row] = kernel(active, shares.data(), n_frames);
    }
  }
}

int64_t move_activations(const ActivationTensors& tensors, int n_threads) {
  const auto kernel = active_kernels().objective.activations;
  int64_t n_active = 0;
#pragma omp parallel for num_threads(n_threads) reduction(+ : n_active)
  for (int64_t row = 0; row < tensors.rows; ++row) n_active += kernel(tensors, row);
  return n_active;
}

}  // namespace dds
