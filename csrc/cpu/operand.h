// How the inputs of a product are held: a row of floats, of bfloat16, or of two bfloat16 planes
// whose sum they are (the leading part, then the remainder).
#pragma once

#include "dds/packed_weights.h"
#include "dds/simd.h"

namespace dds::DDS_LEVEL {

typedef uint16_t HalfVec __attribute__((vector_size(DDS_VECTOR_BYTES / 2)));
typedef uint16_t UnalignedHalfVec
    __attribute__((vector_size(DDS_VECTOR_BYTES / 2), aligned(2), may_alias));

static inline Vec load(const uint16_t* p) {
  const HalfVec half = *reinterpret_cast<const UnalignedHalfVec*>(p);
  return from_bits(__builtin_convertvector(half, IntVec) << 16);
}

// Rounded to the nearest bfloat16, ties to even.
static inline IntVec round_bits(Vec v) { return bits(v) + 0x7fff + ((bits(v) >> 16) & 1); }

static inline void store_rounded(uint16_t* p, IntVec rounded) {
  *reinterpret_cast<UnalignedHalfVec*>(p) = __builtin_convertvector(rounded >> 16, HalfVec);
}

static inline void store(uint16_t* p, Vec v) { store_rounded(p, round_bits(v)); }

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
    const IntVec leading = round_bits(v);
    store_rounded(row + i, leading);
    store(row + plane + i, v - from_bits(leading & static_cast<int32_t>(0xffff0000)));
  }
  static inline Vec get(const uint16_t* row, int64_t plane, int64_t i) {
    return load(row + i) + load(row + plane + i);
  }
};

// The distance from the leading plane to the remainder's, in rows of `stride` elements.
constexpr int64_t plane_of(Format format, int64_t stride) { return stride / planes(format); }

}  // namespace dds::DDS_LEVEL
