// exp, expm1, tanh and the activations on vectors of float.
//
// Arguments are reduced to x = n ln 2 + r with |r| <= ln 2 / 2; expm1(r) = r + r^2 q(r) with a
// minimax polynomial q (relative error 1.4e-8). NaN stays NaN: the clamps let it through.
#pragma once

#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include "simd.h"

namespace dds::DDS_LEVEL {

constexpr float kSeluScale = 1.0507009873554805f;
constexpr float kSeluScaleAlpha = 1.7580993408473766f;
constexpr float kLeakySlope = 0.01f;

struct Reduced {
  Vec expm1_rest;  // expm1(r)
  IntVec n;
};

static inline Reduced reduce_exponent(Vec x) {
  // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits of the sum.
  const Vec shifter = broadcast(12582912.0f);
  const Vec shifted = x * 1.44269504f + shifter;
  const Vec n = shifted - shifter;
  // ln 2 in two parts: n times the first is exact.
  const Vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
  Vec q = r * 1.3882509665563703e-3f + 8.366580121219158e-3f;
  q = q * r + 4.166720062494278e-2f;
  q = q * r + 1.666654348373413e-1f;
  q = q * r + 4.999999701976776e-1f;
  return {q * (r * r) + r, bits(shifted) - bits(shifter)};
}

// 2^n for normal results.
static inline Vec power_of_two(IntVec n) { return from_bits((n + 127) << 23); }

static inline Vec exp(Vec x) {
  const Vec low = broadcast(-104.0f), high = broadcast(89.0f);
  x = x < low ? low : x;
  x = x > high ? high : x;
  const Reduced reduced = reduce_exponent(x);
  // In two factors, so that results may be subnormal or overflow to infinity.
  const IntVec half = reduced.n >> 1;
  return (reduced.expm1_rest + 1.0f) * power_of_two(half) * power_of_two(reduced.n - half);
}

// expm1 for x <= 0 (or NaN), accurate relative to the result also near 0.
static inline Vec expm1_negative(Vec x) {
  const Vec low = broadcast(-20.0f);
  x = x < low ? low : x;
  const Reduced reduced = reduce_exponent(x);
  const Vec scale = power_of_two(reduced.n);
  return reduced.expm1_rest * scale + (scale - 1.0f);
}

// 1 / x for x of order one.
static inline Vec reciprocal(Vec x) {
#ifdef __AVX512F__
  const Vec guess = reinterpret_cast<Vec>(_mm512_rcp14_ps(reinterpret_cast<__m512>(x)));
  return guess + guess * (1.0f - x * guess);
#else
  return 1.0f / x;
#endif
}

static inline Vec tanh(Vec x) {
  const IntVec sign = bits(x) & INT32_MIN;
  const Vec magnitude = from_bits(bits(x) & INT32_MAX);
  const Vec t = expm1_negative(magnitude * -2.0f);
  return from_bits((bits(t * reciprocal(t + 2.0f)) & INT32_MAX) | sign);
}

// max(x, 0); NaN stays NaN.
static inline Vec clipped(Vec x) { return x < 0.0f ? Vec{} : x; }

struct Selu {
  static inline Vec apply(Vec x) {
    const Vec negative = expm1_negative(x > 0.0f ? Vec{} : x) * kSeluScaleAlpha;
    return x > 0.0f ? x * kSeluScale : negative;
  }
  // Derivative, from the output.
  static inline Vec slope(Vec y) { return y > 0.0f ? broadcast(kSeluScale) : y + kSeluScaleAlpha; }
};

struct LeakyRelu {
  static inline Vec apply(Vec x) { return x > 0.0f ? x : x * kLeakySlope; }
  // Derivative, from the output.
  static inline Vec slope(Vec y) { return y > 0.0f ? broadcast(1.0f) : broadcast(kLeakySlope); }
};

}  // namespace dds::DDS_LEVEL
