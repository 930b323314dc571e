// Passes over whole matrices of a non-negative factorisation: residual, ratios, projected Adam.
#pragma once

#include "adam.h"
#include "cpu/nmf.h"
#include "simd.h"

namespace dds::DDS_LEVEL {

// As many doubles as a Vec has floats.
typedef double WideVec __attribute__((vector_size(2 * DDS_VECTOR_BYTES)));
typedef double UnalignedWideVec
    __attribute__((vector_size(2 * DDS_VECTOR_BYTES), aligned(8), may_alias));

// The first `n` lanes from memory, zeros in the others.
static inline WideVec load(const double* p, int64_t n) {
  if (n >= kLanes) return *reinterpret_cast<const UnalignedWideVec*>(p);
  WideVec result = {};
  for (int64_t i = 0; i < n; ++i) result[i] = p[i];
  return result;
}

static inline void store(double* p, WideVec v, int64_t n) {
  if (n >= kLanes) {
    *reinterpret_cast<UnalignedWideVec*>(p) = v;
    return;
  }
  for (int64_t i = 0; i < n; ++i) p[i] = v[i];
}

static double residual(const float* target, float* approximation, int64_t n) {
  CompensatedSum squares;
  for (int64_t i = 0; i < n; i += kLanes) {
    const Vec difference = load(approximation + i, n - i) - load(target + i, n - i);
    store(approximation + i, difference, n - i);
    squares.add(difference * difference);
  }
  return squares.reduce();
}

static void ratio(const float* numerator, const float* denominator, float epsilon, float* values,
                  int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const Vec quotient = load(numerator + i, n - i) / (load(denominator + i, n - i) + epsilon);
    store(values + i, load(values + i, n - i) * quotient, n - i);
  }
}

static void quotient(const float* target, float epsilon, float* approximation, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const Vec divisor = load(approximation + i, n - i) + epsilon;
    store(approximation + i, load(target + i, n - i) / divisor, n - i);
  }
}

// Returns the new values.
static inline Vec adam_projected(const AdamTensors& to, int64_t i, Vec gradient) {
  const int64_t n = to.n - i;
  const Vec moved =
      load(to.values + i, n) - adam_step(gradient, to.first_moment + i, to.second_moment + i, n,
                                         to.step_size, to.rms_correction);
  const Vec values = moved < 0.0f ? Vec{} : moved;
  store(to.values + i, values, n);
  return values;
}

static void adam(const float* gradient, float scale, const AdamTensors& tensors) {
  for (int64_t i = 0; i < tensors.n; i += kLanes) {
    adam_projected(tensors, i, load(gradient + i, tensors.n - i) * scale);
  }
}

static void adam_gram(const double* product, const double* target, double scale, double* wide,
                      const AdamTensors& tensors) {
  for (int64_t i = 0; i < tensors.n; i += kLanes) {
    const int64_t n = tensors.n - i;
    const WideVec gradient = (load(product + i, n) - load(target + i, n)) * scale;
    const Vec values = adam_projected(tensors, i, __builtin_convertvector(gradient, Vec));
    store(wide + i, __builtin_convertvector(values, WideVec), n);
  }
}

static double gram_cost(const double* values, const double* product, const double* target,
                        int64_t n) {
  WideVec sum = {};
  for (int64_t i = 0; i < n; i += kLanes) {
    const WideVec difference = load(product + i, n - i) - 2.0 * load(target + i, n - i);
    sum += load(values + i, n - i) * difference;
  }
  double result = 0.0;
  for (int i = 0; i < kLanes; ++i) result += sum[i];
  return result;
}

}  // namespace dds::DDS_LEVEL
