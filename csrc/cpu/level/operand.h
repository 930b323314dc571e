// How the inputs of a product are held: a row of floats, of bfloat16, or of two bfloat16 planes
// whose sum they are (the leading part, then the remainder).
#pragma once

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

#include "cpu/packed_weights.h"
#include "simd.h"

namespace dds::DDS_LEVEL {

typedef uint16_t HalfVec __attribute__((vector_size(DDS_VECTOR_BYTES / 2)));
typedef uint16_t UnalignedHalfVec
    __attribute__((vector_size(DDS_VECTOR_BYTES / 2), aligned(2), may_alias));

static inline Vec load(const uint16_t* p) {
  const HalfVec half = *reinterpret_cast<const UnalignedHalfVec*>(p);
  return from_bits(__builtin_convertvector(half, IntVec) << 16);
}

#ifdef __AVX512BF16__
static inline void store(uint16_t* p, Vec v) {
  const __m256bh rounded = _mm512_cvtneps_pbh(reinterpret_cast<__m512>(v));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), reinterpret_cast<const __m256i&>(rounded));
}

// The rounded part of v, which is stored, and what remains.
static inline Vec store_leading(uint16_t* p, Vec v) {
  const __m256bh rounded = _mm512_cvtneps_pbh(reinterpret_cast<__m512>(v));
  const __m256i half = reinterpret_cast<const __m256i&>(rounded);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), half);
  return v - reinterpret_cast<Vec>(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
#else
// Rounded to the nearest bfloat16, ties to even.
static inline IntVec round_bits(Vec v) { return bits(v) + 0x7fff + ((bits(v) >> 16) & 1); }

static inline void store_rounded(uint16_t* p, IntVec rounded) {
  *reinterpret_cast<UnalignedHalfVec*>(p) = __builtin_convertvector(rounded >> 16, HalfVec);
}

static inline void store(uint16_t* p, Vec v) { store_rounded(p, round_bits(v)); }

// The rounded part of v, which is stored, and what remains.
static inline Vec store_leading(uint16_t* p, Vec v) {
  const IntVec rounded = round_bits(v);
  store_rounded(p, rounded);
  return v - from_bits(rounded & static_cast<int32_t>(0xffff0000));
}
#endif

template <Format kFormat>
struct Operand;

template <>
struct Operand<Format::float32> {
  using Element = float;
  using Kept = float;  // what a stash keeps of other values
  static inline void put(float* row, int64_t, int64_t i, Vec v) { store(row + i, v); }
  static inline Vec get(const float* row, int64_t, int64_t i) { return load(row + i); }
};

template <>
struct Operand<Format::bfloat16> {
  using Element = uint16_t;
  using Kept = uint16_t;
  static inline void put(uint16_t* row, int64_t, int64_t i, Vec v) { store(row + i, v); }
  static inline Vec get(const uint16_t* row, int64_t, int64_t i) { return load(row + i); }
};

template <>
struct Operand<Format::split> {
  using Element = uint16_t;
  using Kept = float;
  static inline void put(uint16_t* row, int64_t plane, int64_t i, Vec v) {
    store(row + plane + i, store_leading(row + i, v));
  }
  static inline Vec get(const uint16_t* row, int64_t plane, int64_t i) {
    return load(row + i) + load(row + plane + i);
  }
};

// The distance from the leading plane to the remainder's, in rows of `stride` elements.
constexpr int64_t plane_of(Format format, int64_t stride) { return stride / planes(format); }

}  // namespace dds::DDS_LEVEL
