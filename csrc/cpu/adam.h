// Adam's moments and step (Kingma and Ba, 2015), on vectors.
#pragma once

#include "dds/simd.h"

namespace dds::DDS_LEVEL {

constexpr float kBeta1 = 0.9f;
constexpr float kBeta2 = 0.999f;
constexpr float kAdamEpsilon = 1e-8f;

static inline Vec adam_first(Vec moment, Vec gradient) {
  return moment + (gradient - moment) * (1.0f - kBeta1);
}

static inline Vec adam_second(Vec moment, Vec gradient) {
  return moment * kBeta2 + gradient * gradient * (1.0f - kBeta2);
}

// sqrt(moment) * rms_correction + epsilon.
static inline Vec adam_root(Vec moment, float rms_correction) {
  return square_root(moment) * rms_correction + kAdamEpsilon;
}

}  // namespace dds::DDS_LEVEL
