// Products of rows with packed float32 weights, and with their transpose from the same copy.
#pragma once

#include "cpu/packed_weights.h"
#include "product.h"
#include "simd.h"

namespace dds::DDS_LEVEL {

constexpr int kMaxTileRows = 6;
// Few rows and many outputs: summing over lanes costs least for as many sums as there are lanes.
constexpr int kMaxDotRows = 3;
constexpr int kDotOutputs =
    power_of_two_below(kAccumulators / kMaxDotRows, kLanes < 8 ? kLanes : 8);
// Up to so many rows, a backward product takes the weights in the order in which they lie in memory
// and keeps a vector of sums per input and row, at most kMostSums of them.
constexpr int64_t kFewRows = 5;
constexpr int64_t kMostSums = 1024;
constexpr int kPanelVectors = kPanel / kLanes;

// values[m][:] = bias[:] + sum_k a[m][k] * weights[k][:] for the kPanel columns of one panel. Each
// element is one chain of multiply-adds in the order of k, whatever kRows.
template <int kRows>
static void multiply_tile(const float* a, int64_t stride, int64_t n_in, const float* panel,
                          Fetcher& shared_fetcher, float* values) {
  Fetcher fetcher = shared_fetcher;  // in registers
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
      fetcher.turn();
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
  shared_fetcher = fetcher;
}

// Which lanes of a pair of vectors are added at one level of `sum_lanes`.
struct LanePairs {
  // Runs of kRun lanes, in turn from the first and the second vector; with kFold from one alone.
  constexpr LanePairs(int run, bool fold) : left(), right() {
    for (int i = 0; i < kLanes; ++i) {
      const int start = i / (2 * run) * (2 * run) + i % run;
      left[i] = fold ? i : start + (i / run % 2 ? kLanes : 0);
      right[i] = fold ? i ^ run : left[i] + run;
    }
  }

  alignas(DDS_VECTOR_BYTES) int32_t left[kLanes];
  alignas(DDS_VECTOR_BYTES) int32_t right[kLanes];
};

// Lane i of the result is the sum over all lanes of v[i % kCount]. Overwrites v.
template <int kCount, int kRun = 1>
[[gnu::always_inline]] static inline Vec sum_lanes(Vec* v) {
  if constexpr (kRun >= kLanes) {
    return v[0];
  } else {
    static constexpr LanePairs kPairs(kRun, kRun >= kCount);
    const IntVec left = *reinterpret_cast<const IntVec*>(kPairs.left);
    const IntVec right = *reinterpret_cast<const IntVec*>(kPairs.right);
    if constexpr (kRun >= kCount) {
      v[0] += __builtin_shuffle(v[0], right);
    } else {
#pragma GCC unroll 8
      for (int i = 0; i < kCount / (2 * kRun); ++i) {
        const Vec a = v[2 * i], b = v[2 * i + 1];
        v[i] = __builtin_shuffle(a, b, left) + __builtin_shuffle(a, b, right);
      }
    }
    return sum_lanes<kCount, 2 * kRun>(v);
  }
}

// values[m][j] = sum_n a[m][n] * weights[j][n] for kOutputs inputs j of the layer: its transpose,
// read along the panels' rows.
template <int kRows, int kOutputs>
static inline void dot_tile(const float* a, int64_t stride, const float* weights,
                            int64_t panel_floats, int64_t n_panels, Fetcher& fetcher,
                            float* values) {
  Vec sums[kRows][kOutputs] = {};
  for (int64_t p = 0; p < n_panels; ++p, weights += panel_floats, a += kPanel) {
    fetcher.turn();
#pragma GCC unroll 16
    for (int c = 0; c < kPanel; c += kLanes) {
      Vec held[kRows];
#pragma GCC unroll 8
      for (int m = 0; m < kRows; ++m) held[m] = load(a + m * stride + c);
#pragma GCC unroll 8
      for (int j = 0; j < kOutputs; ++j) {
        const Vec weight = in_register(load(weights + j * kPanel + c));
#pragma GCC unroll 8
        for (int m = 0; m < kRows; ++m) sums[m][j] += held[m] * weight;
      }
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
    const Vec sum = sum_lanes<kOutputs>(sums[m]);
    __builtin_memcpy(values + m * kPanel, &sum, kOutputs * 4);
  }
}

// Adds to one vector of sums per input and row, sums[j][m] += a[m][:] * weights[j][:], what one
// panel has of `n_inputs` inputs.
template <int kRows>
static void add_dots(const float* a, int64_t stride, const float* weights, int64_t n_inputs,
                     Fetcher& shared_fetcher, Vec* sums) {
  Fetcher fetcher = shared_fetcher;
  for (int64_t j = 0; j < n_inputs; ++j, weights += kPanel, sums += kRows) {
    fetcher.turn();
    Vec sum[kRows];
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) sum[m] = sums[m];
#pragma GCC unroll 16
    for (int c = 0; c < kPanel; c += kLanes) {
      const Vec weight = in_register(load(weights + c));
#pragma GCC unroll 8
      for (int m = 0; m < kRows; ++m) sum[m] += load(a + m * stride + c) * weight;
    }
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) sums[m] = sum[m];
  }
  shared_fetcher = fetcher;
}

// The sums over lanes of a whole block of inputs, for each row.
template <class Epilogue>
static void finish_dots(const Vec* sums, int64_t rows, int64_t n_inputs, int64_t block,
                        const Epilogue& epilogue) {
  alignas(64) float values[kPanel];
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t j = 0; j < kPanel; j += kDotOutputs) {
      Vec lanes[kDotOutputs];
#pragma GCC unroll 8
      for (int64_t i = 0; i < kDotOutputs; ++i) {
        lanes[i] = j + i < n_inputs ? sums[(j + i) * rows + row] : Vec{};
      }
      const Vec sum = sum_lanes<kDotOutputs>(lanes);
      __builtin_memcpy(values + j, &sum, kDotOutputs * 4);
    }
    epilogue(row, block, values);
  }
}

// The backward product of few rows, in the order in which the weights lie in memory.
template <class Element, class AddDots, class Epilogue>
static void backward_of_few_rows(int64_t rows, const Element* a, const Part& part, Fetcher& fetcher,
                                 const AddDots& add_dots, const Epilogue& epilogue) {
  const PackedLayer& layer = *part.layer;
  const int64_t end = smaller(part.range.end * kPanel, layer.n_in);
  const int64_t step = kMostSums / rows / kPanel * kPanel;
  for (int64_t first = part.range.begin * kPanel; first < end; first += step) {
    const int64_t n_inputs = smaller(step, end - first);
    Vec sums[kMostSums];
    // Inputs may come in pairs.
    for (int64_t i = 0; i < round_up(n_inputs, 2) * rows; ++i) sums[i] = Vec{};
    const char* weights = part.weights + kBiasBytes + first * layer.input_bytes;
    for (int64_t p = 0; p < layer.n_panels; ++p, weights += layer.panel_bytes) {
      fetcher.reading(n_inputs * layer.input_bytes);
      add_dots(a + p * kPanel, weights, n_inputs, sums);
    }
    for (int64_t j = 0; j < n_inputs; j += kPanel) {
      finish_dots(sums + j * rows, rows, n_inputs - j, (first + j) / kPanel, epilogue);
    }
  }
}

using MultiplyTile = void (*)(const float*, int64_t, int64_t, const float*, Fetcher&, float*);
using DotTile = void (*)(const float*, int64_t, const float*, int64_t, int64_t, Fetcher&, float*);

static constexpr MultiplyTile kMultiplyTile[kMaxTileRows] = {
    multiply_tile<1>, multiply_tile<2>, multiply_tile<3>,
    multiply_tile<4>, multiply_tile<5>, multiply_tile<6>,
};
static constexpr DotTile kDotTile[kMaxDotRows] = {
    dot_tile<1, kDotOutputs>,
    dot_tile<2, kDotOutputs>,
    dot_tile<3, kDotOutputs>,
};
using AddDots = void (*)(const float*, int64_t, const float*, int64_t, Fetcher&, Vec*);
static constexpr AddDots kAddDots[kFewRows] = {add_dots<1>, add_dots<2>, add_dots<3>, add_dots<4>,
                                               add_dots<5>};
static constexpr DotTile kSingleDotTile[kMaxDotRows] = {
    dot_tile<1, 1>,
    dot_tile<2, 1>,
    dot_tile<3, 1>,
};

template <>
struct Product<Format::float32> {
  explicit Product(int64_t rows) : rows(rows) {}

  template <class Epilogue>
  void forward(const float* a, int64_t stride, const Part& part, Fetcher& fetcher, char*,
               const Epilogue& epilogue) const {
    alignas(64) float values[kMaxTileRows * kPanel];
    const int64_t n_tiles = ceil_div(rows, kMaxTileRows);
    for (int64_t p = part.range.begin; p < part.range.end; ++p) {
      fetcher.reading(part.layer->panel_bytes);
      const auto* panel = reinterpret_cast<const float*>(part.panel(p));
      for (int64_t t = 0; t < n_tiles; ++t) {
        const int64_t begin = rows * t / n_tiles, end = rows * (t + 1) / n_tiles;
        kMultiplyTile[end - begin - 1](a + begin * stride, stride, part.layer->n_in, panel, fetcher,
                                       values);
        for (int64_t row = begin; row < end; ++row) {
          epilogue(row, p, values + (row - begin) * kPanel);
        }
      }
    }
  }

  template <class Epilogue>
  void backward(const float* a, int64_t stride, const Part& part, Fetcher& fetcher, char*,
                const Epilogue& epilogue) const {
    if (rows <= kFewRows) {
      const auto add = [&](const float* input, const char* weights, int64_t n, Vec* sums) {
        kAddDots[rows - 1](input, stride, reinterpret_cast<const float*>(weights), n, fetcher,
                           sums);
      };
      return backward_of_few_rows(rows, a, part, fetcher, add, epilogue);
    }
    alignas(64) float values[kDotRows * kPanel];
    const PackedLayer& layer = *part.layer;
    for (int64_t b = part.range.begin; b < part.range.end; ++b) {
      fetcher.reading(part.layer->n_panels * kPanel * part.layer->input_bytes);
      const char* block = part.weights + kBiasBytes + b * kPanel * layer.input_bytes;
      const int64_t n_outputs = smaller(kPanel, layer.n_in - b * kPanel);
      for (int64_t row = 0; row < rows; row += kDotRows) {
        const int64_t count = smaller(kDotRows, rows - row);
        dot_block(a + row * stride, stride, count, reinterpret_cast<const float*>(block),
                  layer.panel_bytes / 4, layer.n_panels, n_outputs, fetcher, values);
        for (int64_t m = 0; m < count; ++m) epilogue(row + m, b, values + m * kPanel);
      }
    }
  }

  int64_t forward_turns(const PackedLayer& layer) const {
    return ceil_div(rows, kMaxTileRows) * layer.n_in;
  }

  int64_t backward_turns(const PackedLayer& layer) const {
    const int64_t per_panel =
        rows <= kFewRows ? kPanel : ceil_div(rows, kMaxDotRows) * (kPanel / kDotOutputs);
    return per_panel * layer.n_panels;
  }

  int64_t rows;

 private:
  // Rows that share the weights of a tile while these are in the first-level cache.
  static constexpr int64_t kDotRows = 48;

  static void dot_block(const float* a, int64_t stride, int64_t count, const float* weights,
                        int64_t panel_floats, int64_t n_panels, int64_t n_outputs, Fetcher& fetcher,
                        float* values) {
    const int64_t n_tiles = ceil_div(count, kMaxDotRows);
    for (int64_t j = 0; j < n_outputs;) {
      const bool whole = j + kDotOutputs <= n_outputs;
      for (int64_t t = 0; t < n_tiles; ++t) {
        const int64_t begin = count * t / n_tiles, end = count * (t + 1) / n_tiles;
        const DotTile tile = (whole ? kDotTile : kSingleDotTile)[end - begin - 1];
        tile(a + begin * stride, stride, weights + j * kPanel, panel_floats, n_panels, fetcher,
             values + begin * kPanel + j);
      }
      j += whole ? kDotOutputs : 1;
    }
    for (int64_t m = 0; m < count; ++m) {
      for (int64_t j = n_outputs; j < kPanel; ++j) values[m * kPanel + j] = 0.0f;
    }
  }
};

}  // namespace dds::DDS_LEVEL
