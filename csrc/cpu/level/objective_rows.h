// The objective's loops over the numbers of one row.
#pragma once

#include "adam.h"
#include "cpu/objective.h"
#include "elementwise.h"
#include "simd.h"

namespace dds::DDS_LEVEL {

static double row_squares(const float* x, int64_t n) {
  CompensatedSum sum;
  for (int64_t i = 0; i < n; i += kLanes) {
    const Vec v = load(x + i, n - i);
    sum.add(v * v);
  }
  return sum.reduce();
}

// y[i] += weights[i] * x[i] for rows of n numbers, `x_stride` and `y_stride` apart; weights that
// are not positive are zeros.
static void add_weighted(const float* x, int64_t x_stride, const float* weights, int64_t n_rows,
                         int64_t n, float* y, int64_t y_stride) {
  for (int64_t i = 0; i < n_rows; ++i, x += x_stride, y += y_stride) {
    const float weight = weights[i];
    if (weight <= 0.0f) continue;
    for (int64_t k = 0; k < n; k += kLanes) {
      const int64_t left = n - k;
      store(y + k, load(y + k, left) + load(x + k, left) * weight, left);
    }
  }
}

static float row_correlation(const float* x, const float* y, int64_t n) {
  Vec sums[4] = {};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) sums[j] += load(x + i + j * kLanes) * load(y + i + j * kLanes);
  }
  for (; i < n; i += kLanes) sums[0] += load(x + i, n - i) * load(y + i, n - i);
  const Vec sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  float total = 0.0f;
  for (int lane = 0; lane < kLanes; ++lane) total += sum[lane];
  return total;
}

// What the cost and the gradients need of the frames [first, first + kLanes).
static void frame_sums(const ActivationTensors& t, int64_t first, float epsilon) {
  const int64_t left = t.frames - first;
  CompensatedSum sums, attributed;
  for (int64_t row = 0; row < t.rows; ++row) {
    const int64_t at = row * t.frames + first;
    const Vec active = load(t.active + at, left);
    const Vec likelihood =
        t.per_frame ? load(t.log_likelihoods + at, left) : broadcast(t.log_likelihoods[row]);
    sums.add(active);
    attributed.add(active * likelihood);
  }
  const Vec sum = sums.total + sums.errors, total = sum + epsilon;
  store(t.sums + first, sum, left);
  store(t.total + first, total, left);
  store(t.attributed + first, (attributed.total + attributed.errors) / total, left);
}

// Returns how many are positive afterwards.
static int64_t row_of_activations(const ActivationTensors& t, int64_t row) {
  IntVec n_active = {};
  const int64_t first = row * t.frames;
  for (int64_t i = 0; i < t.frames; i += kLanes) {
    const int64_t at = first + i, left = t.frames - i;
    const Vec likelihood =
        t.per_frame ? load(t.log_likelihoods + at, left) : broadcast(t.log_likelihoods[row]);
    const Vec share = (likelihood - load(t.attributed + i, left)) / load(t.total + i, left);
    Vec gradient = load(t.correlation + at, left) * t.inverse_norm - share * t.penalty + t.sparsity;
    gradient = load(t.active + at, left) > 0.0f ? gradient : Vec{};
    const Vec moved = load(t.activations + at, left) - adam_step(gradient, t.first_moment + at,
                                                                 t.second_moment + at, left,
                                                                 t.step_size, t.rms_correction);
    store(t.activations + at, moved, left);
    store(t.active + at, clipped(moved), left);
    n_active -= keep_first(moved, left) > 0.0f;
  }
  int64_t total = 0;
  for (int lane = 0; lane < kLanes; ++lane) total += n_active[lane];
  return total;
}

}  // namespace dds::DDS_LEVEL
