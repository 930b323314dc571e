// Rows times a packed weight matrix, with an epilogue per row and panel.
#pragma once

#include "dds/packed_weights.h"
#include "dds/simd.h"

namespace dds::DDS_LEVEL {

constexpr int kMaxTileRows = 6;
constexpr int kPanelVectors = kPanel / kLanes;

// Vectors per row of a register tile: as many of 24 (AVX-512) or 12 accumulators as its rows allow.
constexpr int tile_vectors(int rows) {
  const int budget = (DDS_VECTOR_BYTES == 64 ? 24 : 12) / rows;
  int vectors = 1;
  while (2 * vectors <= budget && 2 * vectors <= kPanelVectors) vectors *= 2;
  return vectors;
}

// values[m][:] = start[:] + sum_k a[m][k] * panel[k][:] for kRows rows and the kPanel columns of
// one panel. Each element is one chain of multiply-adds in the order of k, whatever kRows. A cold
// panel is fetched in whole rows by the pass over its first columns: one stream instead of several
// strided.
template <int kRows>
static void multiply_tile(const float* a, int64_t stride, int64_t n_in, const float* start,
                          const float* panel, bool cold, float* values) {
  constexpr int kVectors = tile_vectors(kRows);
  for (int64_t column = 0; column < kPanel; column += kVectors * kLanes) {
    Vec sums[kRows][kVectors];
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      const Vec initial = load(start + column + v * kLanes);
#pragma GCC unroll 8
      for (int m = 0; m < kRows; ++m) sums[m][v] = initial;
    }
    const float* weights = panel + column;
    for (int64_t k = 0; k < n_in; ++k, weights += kPanel) {
      if (kVectors < kPanelVectors && cold && column == 0) {
#pragma GCC unroll 16
        for (int i = kVectors * kLanes; i < kPanel; i += 16) __builtin_prefetch(weights + i);
      }
      // The smaller operand is held in registers, the larger one passes through a single register.
      if (kVectors < kRows) {
        Vec held[kVectors];
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) held[v] = load(weights + v * kLanes);
#pragma GCC unroll 8
        for (int m = 0; m < kRows; ++m) {
          const Vec input = broadcast(a[m * stride + k]);
#pragma GCC unroll 16
          for (int v = 0; v < kVectors; ++v) sums[m][v] += input * held[v];
        }
      } else {
        Vec held[kRows];
#pragma GCC unroll 8
        for (int m = 0; m < kRows; ++m) held[m] = broadcast(a[m * stride + k]);
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) {
          const Vec weight = load(weights + v * kLanes);
#pragma GCC unroll 8
          for (int m = 0; m < kRows; ++m) sums[m][v] += held[m] * weight;
        }
      }
    }
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) {
        store(values + m * kPanel + column + v * kLanes, sums[m][v]);
      }
    }
  }
}

using MultiplyTile = void (*)(const float*, int64_t, int64_t, const float*, const float*, bool,
                              float*);

static constexpr MultiplyTile kMultiplyTile[kMaxTileRows] = {
    multiply_tile<1>, multiply_tile<2>, multiply_tile<3>,
    multiply_tile<4>, multiply_tile<5>, multiply_tile<6>,
};

// Calls epilogue(row, panel index, the row's kPanel values of that panel) for all rows and panels.
template <bool kBiased, class Epilogue>
static inline void multiply(const float* a, int64_t stride, int64_t rows, const PackedLayer& layer,
                            const float* packed, const Epilogue& epilogue) {
  alignas(64) static constexpr float kZeros[kPanel] = {};
  alignas(64) float values[kMaxTileRows * kPanel];
  const int64_t n_tiles = (rows + kMaxTileRows - 1) / kMaxTileRows;
  for (int64_t p = 0; p < layer.n_panels; ++p) {
    const float* panel = packed + layer.offset + p * layer.panel_size;
    const float* start = kBiased ? panel : kZeros;
    const float* weights = kBiased ? panel + kPanel : panel;
    for (int64_t t = 0; t < n_tiles; ++t) {
      const int64_t begin = rows * t / n_tiles, end = rows * (t + 1) / n_tiles;
      kMultiplyTile[end - begin - 1](a + begin * stride, stride, layer.n_in, start, weights, t == 0,
                                     values);
      for (int64_t row = begin; row < end; ++row) {
        epilogue(row, p, values + (row - begin) * kPanel);
      }
    }
  }
}

}  // namespace dds::DDS_LEVEL
