// Adam's moments and step (Kingma and Ba, 2015), on vectors.
#pragma once

#include "simd.h"

namespace dds::DDS_LEVEL {

// The weights of a new gradient and its square. 1 - 0.999 in float would be off by 1e-5.
constexpr float kNewest1 = 0.1f;
constexpr float kNewest2 = 0.001f;
constexpr float kAdamEpsilon = 1e-8f;

// Takes a gradient into the first `n` lanes of the moments; returns what the values go down by.
// `step_size` and `rms_correction` hold the bias corrections.
static inline Vec adam_step(Vec gradient, float* first_moment, float* second_moment, int64_t n,
                            float step_size, float rms_correction) {
  const Vec first_before = load(first_moment, n), second_before = load(second_moment, n);
  const Vec first = first_before + (gradient - first_before) * kNewest1;
  const Vec second = second_before + (gradient * gradient - second_before) * kNewest2;
  store(first_moment, first, n);
  store(second_moment, second, n);
  return first * step_size / (square_root(second) * rms_correction + kAdamEpsilon);
}

}  // namespace dds::DDS_LEVEL
