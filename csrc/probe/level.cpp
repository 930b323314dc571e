// The probes of one instruction-set level: compiled once for each, with flags of its own.
#include "cpu/level/elementwise.h"
#include "cpu/level/product.h"
#include "cpu/level/product_bfloat16.h"
#include "cpu/level/simd.h"
#include "probes.h"
#ifdef DDS_AMX
#include "cpu/level/amx_tiles.h"
#endif

namespace dds::DDS_LEVEL {

// Zeros that the compiler cannot tell to be the same: else one sum would do for all.
static inline void clear(Vec* sums) {
#pragma GCC unroll 24
  for (int i = 0; i < kAccumulators; ++i) sums[i] = in_register(Vec{});
}

static inline float sum_of(const Vec* sums, int n) {
  Vec total = {};
  for (int i = 0; i < n; ++i) total += sums[i];
  return total[0];
}

static int64_t float_rounds(int64_t rounds, float* sum) {
  Vec sums[kAccumulators];
  clear(sums);
  const Vec factor = in_register(broadcast(0.5f)), term = in_register(broadcast(1.0f));
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 24
    for (int j = 0; j < kAccumulators; ++j) sums[j] = sums[j] * factor + term;
  }
  *sum = sum_of(sums, kAccumulators);
  return rounds * kAccumulators * kLanes;
}

#ifdef DDS_AMX
static int64_t pair_rounds(int64_t rounds, float* sum) {
  alignas(64) float values[16 * 16] = {};
  configure_tiles(kMaxTileHeight);
  _tile_loadd(4, values, 64);
  _tile_loadd(5, values, 64);
  _tile_loadd(6, values, 64);
  _tile_loadd(7, values, 64);
  for (int64_t i = 0; i < rounds; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, values, 64);
  _tile_release();
  *sum = values[0];
  return rounds * 4 * 16 * 16 * 32;
}
#else
static int64_t pair_rounds(int64_t rounds, float* sum) {
  Vec sums[kAccumulators];
  clear(sums);
  const IntVec pairs = bits(in_register(from_bits(IntVec{} + 0x3f803f80)));  // of ones
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 24
    for (int j = 0; j < kAccumulators; ++j) sums[j] = dot_pairs(sums[j], pairs, pairs);
  }
  *sum = sum_of(sums, kAccumulators);
  return rounds * kAccumulators * kLanes * 2;
}
#endif

template <Vec (*kFunction)(Vec)>
static void map(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) store(y + i, kFunction(load(x + i, n - i)), n - i);
}

extern const Probes probes;
constinit const Probes probes = {.multiply_registers = {float_rounds, pair_rounds},
                                 .exp = map<exp>,
                                 .expm1_negative = map<expm1_negative>,
                                 .tanh = map<tanh>};

}  // namespace dds::DDS_LEVEL
