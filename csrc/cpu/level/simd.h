// Vectors of float for the instruction set that the including file is compiled for.
//
// The build defines DDS_LEVEL, a namespace of its own for each level: no function compiled with the
// flags of one can be linked into another. The types are the vector extensions of GCC and Clang:
// the same source serves every level.
#pragma once

#include <cstdint>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define DDS_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define DDS_VECTOR_BYTES 32
#else
#define DDS_VECTOR_BYTES 16
#endif

namespace dds::DDS_LEVEL {

typedef float Vec __attribute__((vector_size(DDS_VECTOR_BYTES)));
typedef int32_t IntVec __attribute__((vector_size(DDS_VECTOR_BYTES)));
typedef float UnalignedVec __attribute__((vector_size(DDS_VECTOR_BYTES), aligned(4), may_alias));

constexpr int kLanes = DDS_VECTOR_BYTES / 4;

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// x - 0 is x for every x (0 + x is not, for -0), so the subtraction costs nothing.
static inline Vec broadcast(float x) { return x - Vec{}; }

static inline Vec load(const float* p) { return *reinterpret_cast<const UnalignedVec*>(p); }

static inline void store(float* p, Vec v) { *reinterpret_cast<UnalignedVec*>(p) = v; }

// The first `n` lanes from memory, zeros in the others. Never reads past `p + n`.
static inline Vec load(const float* p, int64_t n) {
  if (n >= kLanes) return load(p);
  float lanes[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return load(lanes);
}

// The first `n` lanes to memory. Never writes past `p + n`.
static inline void store(float* p, Vec v, int64_t n) {
  if (n >= kLanes) return store(p, v);
  float lanes[kLanes];
  store(lanes, v);
  for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
}

static inline IntVec bits(Vec v) { return reinterpret_cast<IntVec>(v); }

static inline Vec from_bits(IntVec v) { return reinterpret_cast<Vec>(v); }

// The first `n` lanes, zeros in the others.
static inline Vec keep_first(Vec v, int64_t n) {
  IntVec index;
  for (int i = 0; i < kLanes; ++i) index[i] = i;
  return index < static_cast<int32_t>(n) ? v : Vec{};
}

// The value, loaded once: GCC would rather read memory again at each use.
static inline Vec in_register(Vec v) {
#if defined(__AVX512F__)
  asm("" : "+v"(v));
#elif defined(__x86_64__)
  asm("" : "+x"(v));
#endif
  return v;
}

// from[indices[0]], from[indices[1]], ...
static inline Vec gather(const float* from, const int32_t* indices) {
#ifdef __AVX512F__
  const __m512i places = _mm512_loadu_si512(indices);
  return reinterpret_cast<Vec>(_mm512_i32gather_ps(places, from, 4));
#else
  Vec result;
  for (int i = 0; i < kLanes; ++i) result[i] = from[indices[i]];
  return result;
#endif
}

static inline Vec square_root(Vec v) {
  Vec result;
  for (int i = 0; i < kLanes; ++i) result[i] = __builtin_sqrtf(v[i]);
  return result;
}

// Lane-wise sum that carries its rounding errors along (two-sum), good to about double precision.
struct CompensatedSum {
  Vec total = {};
  Vec errors = {};

  inline void add(Vec v) {
    const Vec next = total + v;
    const Vec added = next - total;
    errors += (total - (next - added)) + (v - added);
    total = next;
  }

  // Sum over the lanes.
  inline double reduce() const {
    double result = 0.0;
    for (int i = 0; i < kLanes; ++i) result += static_cast<double>(total[i]) + errors[i];
    return result;
  }
};

}  // namespace dds::DDS_LEVEL
