// Products of rows with packed bfloat16 weights, in one plane or split into two, on vectors.
//
// The transpose is made panel by panel in the workspace, in the layout of packed weights.
#pragma once

#include "dds/packed_weights.h"
#include "operand.h"
#include "product.h"
#include "transpose.h"

namespace dds::DDS_LEVEL {

constexpr int kMaxPairRows = 6;

typedef int32_t UnalignedIntVec
    __attribute__((vector_size(DDS_VECTOR_BYTES), aligned(4), may_alias));

static inline IntVec load_pairs(const uint16_t* p) {
  return *reinterpret_cast<const UnalignedIntVec*>(p);
}

static inline IntVec broadcast_pair(const uint16_t* p) {
  typedef int32_t Pair __attribute__((aligned(2), may_alias));
  return *reinterpret_cast<const Pair*>(p) + IntVec{};
}

// sum + a[0] * w[0] + a[1] * w[1] of the pairs in each lane.
static inline Vec dot_pairs(Vec sum, IntVec a, IntVec w) {
#ifdef DDS_BF16_DOT
  return reinterpret_cast<Vec>(_mm512_dpbf16_ps(
      reinterpret_cast<__m512>(sum), reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(w)));
#else
  const int32_t high = static_cast<int32_t>(0xffff0000);
  sum += from_bits(a << 16) * from_bits(w << 16);
  return sum + from_bits(a & high) * from_bits(w & high);
#endif
}

// values[m][:] = bias[:] + the products of a[m] with one panel.
template <Format kFormat, int kRows>
static void pair_tile(const uint16_t* a, int64_t stride, int64_t n_in, const char* panel,
                      float* values) {
  constexpr int kVectors = power_of_two_below(kAccumulators / kRows, kTileColumns / kLanes);
  const int64_t plane = plane_of(kFormat, stride);
  for (int64_t column = 0; column < kPanel; column += kVectors * kLanes) {
    Vec sums[kRows][kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const Vec bias = load(reinterpret_cast<const float*>(panel) + column + v * kLanes);
#pragma GCC unroll 8
      for (int m = 0; m < kRows; ++m) sums[m][v] = bias;
    }
    const char* tile = panel + kBiasBytes + column / kTileColumns * kTileBytes;
    for (int64_t k = 0; k < n_in; k += kInputBlock) {
      const auto* weights = reinterpret_cast<const uint16_t*>(tile) + column % kTileColumns * 2;
      const auto* rest = weights + kTilesPerPanel * kTileBytes / 2;
      for (int64_t i = k; i < k + kInputBlock; i += 2) {
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          const IntVec w = load_pairs(weights + v * kLanes * 2);
#pragma GCC unroll 8
          for (int m = 0; m < kRows; ++m) {
            sums[m][v] = dot_pairs(sums[m][v], broadcast_pair(a + m * stride + i), w);
          }
          if (kFormat == Format::split) {
            const IntVec w_rest = load_pairs(rest + v * kLanes * 2);
#pragma GCC unroll 8
            for (int m = 0; m < kRows; ++m) {
              sums[m][v] = dot_pairs(sums[m][v], broadcast_pair(a + m * stride + i), w_rest);
              sums[m][v] = dot_pairs(sums[m][v], broadcast_pair(a + m * stride + plane + i), w);
            }
          }
        }
        weights += 2 * kTileColumns;
        rest += 2 * kTileColumns;
      }
      tile += kTilesPerPanel * kTileBytes * planes(kFormat);
    }
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        store(values + m * kPanel + column + v * kLanes, sums[m][v]);
      }
    }
  }
}

template <Format kFormat>
struct PairProduct {
  using PairTile = void (*)(const uint16_t*, int64_t, int64_t, const char*, float*);
  static constexpr PairTile kPairTile[kMaxPairRows] = {
      pair_tile<kFormat, 1>, pair_tile<kFormat, 2>, pair_tile<kFormat, 3>,
      pair_tile<kFormat, 4>, pair_tile<kFormat, 5>, pair_tile<kFormat, 6>,
  };

  explicit PairProduct(int64_t rows) : rows(rows) {}

  template <class Epilogue>
  void one_panel(const uint16_t* a, int64_t stride, int64_t n_in, const char* panel,
                 Fetcher& fetcher, int64_t index, const Epilogue& epilogue) const {
    alignas(64) float values[kMaxPairRows * kPanel];
    const int64_t n_tiles = ceil_div(rows, kMaxPairRows);
    for (int64_t t = 0; t < n_tiles; ++t) {
      const int64_t begin = rows * t / n_tiles, end = rows * (t + 1) / n_tiles;
      kPairTile[end - begin - 1](a + begin * stride, stride, n_in, panel, values);
      for (int64_t row = begin; row < end; ++row) {
        epilogue(row, index, values + (row - begin) * kPanel);
        fetcher.turn();
      }
    }
  }

  template <class Epilogue>
  void forward(const uint16_t* a, int64_t stride, const Part& part, Fetcher& fetcher, char*,
               const Epilogue& epilogue) const {
    for (int64_t p = part.range.begin; p < part.range.end; ++p) {
      fetcher.reading(part.layer->panel_bytes);
      one_panel(a, stride, part.layer->n_in, part.panel(p), fetcher, p, epilogue);
    }
  }

  template <class Epilogue>
  void backward(const uint16_t* a, int64_t stride, const Part& part, Fetcher& fetcher,
                char* workspace, const Epilogue& epilogue) const {
    for (int64_t b = part.range.begin; b < part.range.end; ++b) {
      fetcher.reading(part.layer->n_panels * kPanel * part.layer->input_bytes);
      transpose_block<kFormat>(part, b, fetcher, workspace);
      one_panel(a, stride, part.layer->n_panels * kPanel, workspace, fetcher, b, epilogue);
    }
  }

  int64_t forward_turns(const PackedLayer&) const { return rows; }

  int64_t backward_turns(const PackedLayer& layer) const {
    return tiles_of_block<kFormat>(layer) + rows;
  }

  int64_t rows;
};

#ifndef DDS_AMX
template <>
struct Product<Format::bfloat16> : PairProduct<Format::bfloat16> {
  using PairProduct::PairProduct;
};
template <>
struct Product<Format::split> : PairProduct<Format::split> {
  using PairProduct::PairProduct;
};
#endif

}  // namespace dds::DDS_LEVEL
