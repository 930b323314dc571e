// Products of rows with packed float32 weights, and with their transpose from the same copy.
#pragma once

#include "dds/packed_weights.h"
#include "dds/simd.h"
#include "product.h"

namespace dds::DDS_LEVEL {

constexpr int kMaxTileRows = 6;
constexpr int kPanelVectors = kPanel / kLanes;

// values[m][:] = bias[:] + sum_k a[m][k] * weights[k][:] for the kPanel columns of one panel. Each
// element is one chain of multiply-adds in the order of k, whatever kRows. A cold panel is fetched
// in whole rows by the pass over its first columns: one stream instead of several strided.
template <int kRows>
static void multiply_tile(const float* a, int64_t stride, int64_t n_in, const float* panel,
                          bool cold, float* values) {
  constexpr int kVectors = power_of_two_below(kAccumulators / kRows, kPanelVectors);
  for (int64_t column = 0; column < kPanel; column += kVectors * kLanes) {
    Vec sums[kRows][kVectors];
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      const Vec bias = load(panel + column + v * kLanes);
#pragma GCC unroll 8
      for (int m = 0; m < kRows; ++m) sums[m][v] = bias;
    }
    const float* weights = panel + kPanel + column;
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

// Lane i of the result is the sum over all lanes of v[i % kCount].
template <int kCount>
static inline Vec sum_lanes(const Vec* v) {
  Vec sums[kCount];
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) sums[i] = v[i];
#pragma GCC unroll 4
  for (int run = 1; run < kCount; run *= 2) {
    IntVec left, right;
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      const int start = i / (2 * run) * (2 * run) + i % run + (i / run % 2 ? kLanes : 0);
      left[i] = start;
      right[i] = start + run;
    }
#pragma GCC unroll 8
    for (int i = 0; i < kCount / (2 * run); ++i) {
      const Vec a = sums[2 * i], b = sums[2 * i + 1];
      sums[i] = __builtin_shuffle(a, b, left) + __builtin_shuffle(a, b, right);
    }
  }
#pragma GCC unroll 4
  for (int distance = kCount; distance < kLanes; distance *= 2) {
    IntVec other;
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) other[i] = i ^ distance;
    sums[0] += __builtin_shuffle(sums[0], other);
  }
  return sums[0];
}

// values[m][j] = sum_n a[m][n] * weights[j][n] for kOutputs inputs j of the layer: its transpose,
// read along the panels' rows. Cold weights of the block behind are fetched on the way.
template <int kRows, int kOutputs>
static inline void dot_tile(const float* a, int64_t stride, const float* weights,
                            int64_t panel_floats, int64_t n_panels, bool cold, float* values) {
  Vec sums[kRows][kOutputs] = {};
  for (int64_t p = 0; p < n_panels; ++p, weights += panel_floats, a += kPanel) {
#pragma GCC unroll 16
    for (int c = 0; c < kPanel; c += kLanes) {
      Vec held[kRows];
#pragma GCC unroll 8
      for (int m = 0; m < kRows; ++m) held[m] = load(a + m * stride + c);
#pragma GCC unroll 8
      for (int j = 0; j < kOutputs; ++j) {
        const Vec weight = load(weights + j * kPanel + c);
#pragma GCC unroll 8
        for (int m = 0; m < kRows; ++m) sums[m][j] += held[m] * weight;
      }
    }
    if (cold) {
#pragma GCC unroll 32
      for (int i = 0; i < kOutputs * kPanel; i += 16) {
        __builtin_prefetch(weights + kPanel * kPanel + i);
      }
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
    const Vec sum = sum_lanes<kOutputs>(sums[m]);
    float lanes[kLanes];
    store(lanes, sum);
#pragma GCC unroll 8
    for (int j = 0; j < kOutputs; ++j) values[m * kPanel + j] = lanes[j];
  }
}

template <int kRows>
static void dot_tiles(const float* a, int64_t stride, int64_t n_out, const float* weights,
                      int64_t panel_floats, int64_t n_panels, bool cold, float* values) {
  constexpr int kOutputs = power_of_two_below(kAccumulators / kRows, kLanes < 8 ? kLanes : 8);
  int64_t j = 0;
  for (; j + kOutputs <= n_out; j += kOutputs) {
    dot_tile<kRows, kOutputs>(a, stride, weights + j * kPanel, panel_floats, n_panels, cold,
                              values + j);
  }
  for (; j < n_out; ++j) {
    dot_tile<kRows, 1>(a, stride, weights + j * kPanel, panel_floats, n_panels, cold, values + j);
  }
  for (; j < kPanel; ++j) {
    for (int m = 0; m < kRows; ++m) values[m * kPanel + j] = 0.0f;
  }
}

using MultiplyTile = void (*)(const float*, int64_t, int64_t, const float*, bool, float*);
using DotTiles = void (*)(const float*, int64_t, int64_t, const float*, int64_t, int64_t, bool,
                          float*);

static constexpr MultiplyTile kMultiplyTile[kMaxTileRows] = {
    multiply_tile<1>, multiply_tile<2>, multiply_tile<3>,
    multiply_tile<4>, multiply_tile<5>, multiply_tile<6>,
};
static constexpr DotTiles kDotTiles[kMaxTileRows] = {
    dot_tiles<1>, dot_tiles<2>, dot_tiles<3>, dot_tiles<4>, dot_tiles<5>, dot_tiles<6>,
};

template <>
struct Product<Format::float32> {
  explicit Product(int64_t rows) : rows(rows) {}

  template <class Epilogue>
  void forward(const float* a, int64_t stride, const PackedLayer& layer, const char* packed,
               Range panels, char*, const Epilogue& epilogue) const {
    alignas(64) float values[kMaxTileRows * kPanel];
    const int64_t n_tiles = ceil_div(rows, kMaxTileRows);
    for (int64_t p = panels.begin; p < panels.end; ++p) {
      const auto* panel =
          reinterpret_cast<const float*>(packed + layer.offset + p * layer.panel_bytes);
      for (int64_t t = 0; t < n_tiles; ++t) {
        const int64_t begin = rows * t / n_tiles, end = rows * (t + 1) / n_tiles;
        kMultiplyTile[end - begin - 1](a + begin * stride, stride, layer.n_in, panel, t == 0,
                                       values);
        for (int64_t row = begin; row < end; ++row) {
          epilogue(row, p, values + (row - begin) * kPanel);
        }
      }
    }
  }

  template <class Epilogue>
  void backward(const float* a, int64_t stride, const PackedLayer& layer, const char* packed,
                Range blocks, char*, const Epilogue& epilogue) const {
    alignas(64) float values[kMaxTileRows * kPanel];
    const int64_t n_tiles = ceil_div(rows, kMaxTileRows);
    const auto* weights = reinterpret_cast<const float*>(packed + layer.offset + kBiasBytes);
    for (int64_t b = blocks.begin; b < blocks.end; ++b) {
      const int64_t n_out = smaller(kPanel, layer.n_in - b * kPanel);
      for (int64_t t = 0; t < n_tiles; ++t) {
        const int64_t begin = rows * t / n_tiles, end = rows * (t + 1) / n_tiles;
        kDotTiles[end - begin - 1](a + begin * stride, stride, n_out, weights + b * kPanel * kPanel,
                                   layer.panel_bytes / 4, layer.n_panels, t == 0, values);
        for (int64_t row = begin; row < end; ++row) {
          epilogue(row, b, values + (row - begin) * kPanel);
        }
      }
    }
  }

  int64_t rows;
};

}  // namespace dds::DDS_LEVEL
