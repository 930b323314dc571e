// Adam's moments and step (Kingma and Ba, 2015), on vectors.
#pragma once

#include "simd.h"

namespace dds::DDS_LEVEL {

// The weights of a new gradient and its square. 1 - 0.999 in float would be off by 1e-5.
constexpr float kNewest1 = 0.1f;
constexpr float kNewest2 = 0.001f;
constexpr float kAdamEpsilon = 1e-8f;

static inline Vec adam_first(Vec moment, Vec gradient) {
  return moment + (gradient - moment) * kNewest1;
}

static inline Vec adam_second(Vec moment, Vec gradient) {
  return moment + (gradient * gradient - moment) * kNewest2;
}

// sqrt(moment) * rms_correction + epsilon.
static inline Vec adam_root(Vec moment, float rms_correction) {
  return square_root(moment) * rms_correction + kAdamEpsilon;
}

}  // namespace dds::DDS_LEVEL
