// Products of rows with packed bfloat16 weights, in one plane or split into two, on vectors.
//
// The transpose is made panel by panel in the workspace, in the layout of packed weights.
#pragma once

#include "cpu/packed_weights.h"
#include "operand.h"
#include "product.h"
#include "product_float32.h"
#include "transpose.h"

namespace dds::DDS_LEVEL {

constexpr int kMaxPairRows = 6;
// Fewer than in float32: a transposed panel serves more rows better.
constexpr int64_t kFewPairRows = 3;

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
#ifdef __AVX512BF16__
  return reinterpret_cast<Vec>(_mm512_dpbf16_ps(
      reinterpret_cast<__m512>(sum), reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(w)));
#else
  const int32_t high = static_cast<int32_t>(0xffff0000);
  sum += from_bits(a << 16) * from_bits(w << 16);
  return sum + from_bits(a & high) * from_bits(w & high);
#endif
}

// How far into a panel's pairs the weights of its vector `v` begin, in elements.
constexpr int64_t pairs_of(int v) {
  const int column = v * kLanes;
  return column / kTileColumns * kTileBytes / 2 + column % kTileColumns * 2;
}

// values[m][:] = bias[:] + the products of a[m] with one panel.
template <Format kFormat, int kRows>
static void pair_tile(const uint16_t* a, int64_t stride, int64_t n_in, const char* panel,
                      Fetcher& shared_fetcher, float* values) {
  Fetcher fetcher = shared_fetcher;
  constexpr int kVectors = power_of_two_below(kAccumulators / kRows, kPanel / kLanes);
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
      fetcher.turn();
      const auto* weights = reinterpret_cast<const uint16_t*>(tile) + column % kTileColumns * 2;
      const auto* rest = weights + kTilesPerPanel * kTileBytes / 2;
      for (int64_t i = k; i < k + kInputBlock; i += 2) {
        IntVec w[kVectors], w_rest[kVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          w[v] = load_pairs(weights + pairs_of(v));
          if (kFormat == Format::split) w_rest[v] = load_pairs(rest + pairs_of(v));
        }
#pragma GCC unroll 8
        for (int m = 0; m < kRows; ++m) {
          const IntVec leading = broadcast_pair(a + m * stride + i);
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) sums[m][v] = dot_pairs(sums[m][v], leading, w[v]);
          if (kFormat == Format::split) {
            const IntVec remainder = broadcast_pair(a + m * stride + plane + i);
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; ++v) {
              sums[m][v] = dot_pairs(sums[m][v], leading, w_rest[v]);
              sums[m][v] = dot_pairs(sums[m][v], remainder, w[v]);
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
  shared_fetcher = fetcher;
}

// `add_dots` for pairs of inputs.
template <Format kFormat, int kRows>
static void add_pair_dots(const uint16_t* a, int64_t stride, const char* weights, int64_t n_inputs,
                          Fetcher& shared_fetcher, Vec* sums) {
  constexpr int64_t kPlaneStep = kTilesPerPanel * kTileBytes;
  constexpr int64_t kPairBytes = kTileColumns * 4;  // of one pair of inputs in a tile
  const int32_t high = static_cast<int32_t>(0xffff0000);
  Fetcher fetcher = shared_fetcher;
  alignas(64) float held[kRows][kPanel];
  for (int m = 0; m < kRows; ++m) {
    for (int64_t c = 0; c < kPanel; c += kLanes) {
      store(held[m] + c, Operand<kFormat>::get(a + m * stride, plane_of(kFormat, stride), c));
    }
  }
  for (int64_t j = 0; j < n_inputs; j += 2, sums += 2 * kRows) {
    fetcher.turn();
    const char* pairs =
        weights + j / kInputBlock * kPlaneStep * planes(kFormat) + j % kInputBlock / 2 * kPairBytes;
    Vec first_sum[kRows], second_sum[kRows];
#pragma GCC unroll 4
    for (int m = 0; m < kRows; ++m) {
      first_sum[m] = sums[m];
      second_sum[m] = sums[kRows + m];
    }
#pragma GCC unroll 16
    for (int c = 0; c < kPanel; c += kLanes) {
      const char* place = pairs + c / kTileColumns * kTileBytes + c % kTileColumns * 4;
      const IntVec w = load_pairs(reinterpret_cast<const uint16_t*>(place));
      Vec first = from_bits(w << 16), second = from_bits(w & high);
      if (kFormat == Format::split) {
        const IntVec rest = load_pairs(reinterpret_cast<const uint16_t*>(place + kPlaneStep));
        first += from_bits(rest << 16);
        second += from_bits(rest & high);
      }
#pragma GCC unroll 4
      for (int m = 0; m < kRows; ++m) {
        const Vec input = load(held[m] + c);
        first_sum[m] += input * first;
        second_sum[m] += input * second;
      }
    }
#pragma GCC unroll 4
    for (int m = 0; m < kRows; ++m) {
      sums[m] = first_sum[m];
      sums[kRows + m] = second_sum[m];
    }
  }
  shared_fetcher = fetcher;
}

// The backward product of at most kFewPairRows rows: too few to make a transposed panel for.
template <Format kFormat, class Epilogue>
static void backward_of_few_pair_rows(int64_t rows, const uint16_t* a, int64_t stride,
                                      const Part& part, Fetcher& fetcher,
                                      const Epilogue& epilogue) {
  using AddDots = void (*)(const uint16_t*, int64_t, const char*, int64_t, Fetcher&, Vec*);
  static constexpr AddDots kAdd[kFewPairRows] = {
      add_pair_dots<kFormat, 1>, add_pair_dots<kFormat, 2>, add_pair_dots<kFormat, 3>};
  const auto add = [&](const uint16_t* input, const char* weights, int64_t n, Vec* sums) {
    kAdd[rows - 1](input, stride, weights, n, fetcher, sums);
  };
  backward_of_few_rows(rows, a, part, fetcher, add, epilogue);
}

template <Format kFormat>
struct PairProduct {
  using PairTile = void (*)(const uint16_t*, int64_t, int64_t, const char*, Fetcher&, float*);
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
      kPairTile[end - begin - 1](a + begin * stride, stride, n_in, panel, fetcher, values);
      for (int64_t row = begin; row < end; ++row) {
        epilogue(row, index, values + (row - begin) * kPanel);
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
    if (rows <= kFewPairRows) {
      return backward_of_few_pair_rows<kFormat>(rows, a, stride, part, fetcher, epilogue);
    }
    for (int64_t b = part.range.begin; b < part.range.end; ++b) {
      fetcher.reading(part.layer->n_panels * kPanel * part.layer->input_bytes);
      transpose_block<kFormat>(part, b, fetcher, workspace);
      one_panel(a, stride, part.layer->n_panels * kPanel, workspace, fetcher, b, epilogue);
    }
  }

  int64_t forward_turns(const PackedLayer& layer) const { return turns(layer.n_in); }

  int64_t backward_turns(const PackedLayer& layer) const {
    if (rows <= kFewPairRows) return layer.n_panels * kPanel / 2;
    return tiles_of_block<kFormat>(layer) + turns(layer.n_panels * kPanel);
  }

  int64_t turns(int64_t n_in) const {
    return ceil_div(rows, kMaxPairRows) * ceil_div(n_in, kInputBlock);
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
