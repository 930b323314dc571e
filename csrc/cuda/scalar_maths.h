// exp, tanh, the activations, the affine coupling and Adam on single floats: what the CUDA kernels
// compute between their products. The host compiles the same functions, for the emulation of the
// kernels and for tests.
//
// The functions are those of cpu/level/elementwise.h: arguments are reduced to x = n ln 2 + r with
// |r| <= ln 2 / 2, and expm1(r) = r + r^2 q(r) with a minimax polynomial q. NaN stays NaN.
#pragma once

#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define DDS_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define DDS_HOST_DEVICE inline
#endif

namespace dds::scalar {

constexpr float kSeluScale = 1.0507009873554805f;
constexpr float kSeluScaleAlpha = 1.7580993408473766f;
constexpr float kLeakySlope = 0.01f;

DDS_HOST_DEVICE uint32_t bits(float x) {
  uint32_t result;
  __builtin_memcpy(&result, &x, 4);
  return result;
}

DDS_HOST_DEVICE float from_bits(uint32_t x) {
  float result;
  __builtin_memcpy(&result, &x, 4);
  return result;
}

// 2^n for normal results.
DDS_HOST_DEVICE float power_of_two(int32_t n) {
  return from_bits(static_cast<uint32_t>(n + 127) << 23);
}

struct Reduced {
  float expm1_rest;  // expm1(r)
  int32_t n;
};

DDS_HOST_DEVICE Reduced reduce_exponent(float x) {
  // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits of the sum.
  const float shifter = 12582912.0f;
  const float shifted = fmaf(x, 1.44269504f, shifter);
  const float n = shifted - shifter;
  // ln 2 in two parts: n times the first is exact.
  const float r = fmaf(n, 2.12194440e-4f, fmaf(n, -0.693359375f, x));
  float q = fmaf(r, 1.3882509665563703e-3f, 8.366580121219158e-3f);
  q = fmaf(q, r, 4.166720062494278e-2f);
  q = fmaf(q, r, 1.666654348373413e-1f);
  q = fmaf(q, r, 4.999999701976776e-1f);
  return {fmaf(q, r * r, r), static_cast<int32_t>(bits(shifted) - bits(shifter))};
}

DDS_HOST_DEVICE float exp(float x) {
  x = x < -104.0f ? -104.0f : x;
  x = x > 89.0f ? 89.0f : x;
  const Reduced reduced = reduce_exponent(x);
  // In two factors, so that results may be subnormal or overflow to infinity.
  const int32_t half = reduced.n >> 1;
  return (reduced.expm1_rest + 1.0f) * power_of_two(half) * power_of_two(reduced.n - half);
}

// expm1 for x <= 0 (or NaN), accurate relative to the result also near 0.
DDS_HOST_DEVICE float expm1_negative(float x) {
  x = x < -20.0f ? -20.0f : x;
  const Reduced reduced = reduce_exponent(x);
  const float scale = power_of_two(reduced.n);
  return fmaf(reduced.expm1_rest, scale, scale - 1.0f);
}

DDS_HOST_DEVICE float tanh(float x) {
  const uint32_t sign = bits(x) & 0x80000000u;
  const float magnitude = from_bits(bits(x) & 0x7fffffffu);
  const float t = expm1_negative(magnitude * -2.0f);
  return from_bits((bits(t / (t + 2.0f)) & 0x7fffffffu) | sign);
}

// max(x, 0); NaN stays NaN.
DDS_HOST_DEVICE float clipped(float x) { return x < 0.0f ? 0.0f : x; }

DDS_HOST_DEVICE float selu(float x) {
  return x > 0.0f ? x * kSeluScale : expm1_negative(x) * kSeluScaleAlpha;
}

// Derivatives, from the output.
DDS_HOST_DEVICE float selu_slope(float y) { return y > 0.0f ? kSeluScale : y + kSeluScaleAlpha; }

DDS_HOST_DEVICE float leaky_relu(float x) { return x > 0.0f ? x : x * kLeakySlope; }

DDS_HOST_DEVICE float leaky_relu_slope(float y) { return y > 0.0f ? 1.0f : kLeakySlope; }

// The affine map of one moving feature from its raw log-scale and its translation.
struct Affine {
  float bounded;    // tanh of the raw log-scale
  float log_scale;  // s = alpha bounded + beta
  float result;     // encode: e^s input + translation; decode: (input - translation) e^-s
};

DDS_HOST_DEVICE Affine affine(bool decode, float input, float raw, float translation, float alpha,
                              float beta) {
  Affine a;
  a.bounded = tanh(raw);
  a.log_scale = fmaf(alpha, a.bounded, beta);
  const float factor = exp(decode ? -a.log_scale : a.log_scale);
  a.result = decode ? (input - translation) * factor : fmaf(input, factor, translation);
  return a;
}

struct AffineGradient {
  float input;
  float raw;
  float translation;
};

// `moved`: the feature before an encoding or after a decoding. `grad_log_det`: to the direction's
// own log-determinant.
DDS_HOST_DEVICE AffineGradient affine_backward(bool decode, float grad, float bounded, float moved,
                                               float alpha, float beta, float grad_log_det) {
  const float s = fmaf(alpha, bounded, beta);
  const float scaled = grad * exp(decode ? -s : s);
  const float through_scale = decode ? -grad * moved : scaled * moved;
  const float to_log_scale = through_scale + (decode ? -grad_log_det : grad_log_det);
  return {scaled, to_log_scale * alpha * fmaf(-bounded, bounded, 1.0f), decode ? -scaled : grad};
}

// Adam (Kingma and Ba, 2015): moments first, then the step. The weights of a new gradient and its
// square are constants of their own: 1 - 0.999 in float would be off by 1e-5.
DDS_HOST_DEVICE float adam_first(float moment, float gradient) {
  return fmaf(gradient - moment, 0.1f, moment);
}

DDS_HOST_DEVICE float adam_second(float moment, float gradient) {
  return fmaf(fmaf(gradient, gradient, -moment), 0.001f, moment);
}

// `step_size` and `rms_correction` hold the bias corrections.
DDS_HOST_DEVICE float adam_step(float value, float first, float second, float step_size,
                                float rms_correction) {
  return value - step_size * first / fmaf(sqrtf(second), rms_correction, 1e-8f);
}

// Rounded to the nearest bfloat16 and tf32 number, ties to even; NaN stays NaN.
DDS_HOST_DEVICE uint32_t round_to_bfloat16(float x) {
  const uint32_t b = bits(x);
  if ((b & 0x7fffffffu) > 0x7f800000u) return 0x7fffu;
  return (b + 0x7fffu + ((b >> 16) & 1u)) >> 16;
}

DDS_HOST_DEVICE float from_bfloat16(uint32_t x) { return from_bits(x << 16); }

DDS_HOST_DEVICE float round_to_tf32(float x) {
  const uint32_t b = bits(x);
  if ((b & 0x7fffffffu) > 0x7f800000u) return x;
  return from_bits((b + 0xfffu + ((b >> 13) & 1u)) & 0xffffe000u);
}

// Two bfloat16 numbers in one word, the first in the low half.
DDS_HOST_DEVICE uint32_t bfloat16_pair(float first, float second) {
  return round_to_bfloat16(first) | round_to_bfloat16(second) << 16;
}

}  // namespace dds::scalar
