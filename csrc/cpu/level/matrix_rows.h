// The parts of a matrix product: packing a panel of the right factor, and the product of some rows
// of the left one.
#pragma once

#include "cpu/kernels.h"
#include "cpu/matrix_product.h"
#include "operand.h"
#include "product.h"

namespace dds::DDS_LEVEL {

// Pairs of bfloat16 numbers, the first from `low` and the second from `high`.
static inline void interleave(const uint16_t* low, const uint16_t* high, uint16_t* pairs) {
  const IntVec a = __builtin_convertvector(*reinterpret_cast<const UnalignedHalfVec*>(low), IntVec);
  const IntVec b =
      __builtin_convertvector(*reinterpret_cast<const UnalignedHalfVec*>(high), IntVec);
  store(reinterpret_cast<float*>(pairs), from_bits(a | (b << 16)));
}

// `n_inputs` rows of the right factor, kPanel columns of each; those behind the last are zeros.
static inline void read_inputs(const MatrixProduct& product, int64_t input, int64_t n_inputs,
                               int64_t column, float (*rows)[kPanel]) {
  const Factor& b = product.b;
  const int64_t n_columns = smaller(kPanel, product.n - column);
  if (b.transposed) {
    for (int64_t c = 0; c < kPanel; ++c) {
      const float* from = b.values + (column + c) * b.stride + input;
      for (int64_t i = 0; i < n_inputs; ++i) rows[i][c] = c < n_columns ? from[i] : 0.0f;
    }
    return;
  }
  for (int64_t i = 0; i < n_inputs; ++i) {
    const float* from = b.values + (input + i) * b.stride + column;
    for (int64_t c = 0; c < kPanel; c += kLanes) {
      store(rows[i] + c, c < n_columns ? load(from + c, n_columns - c) : Vec{});
    }
  }
}

// kInputBlock rows as pairs, one plane after the other.
static inline void pack_pairs(const float (*rows)[kPanel], char* block) {
  constexpr int64_t kPlaneBytes = kTilesPerPanel * kTileBytes;
  for (int64_t pair = 0; pair < kInputBlock; pair += 2) {
    alignas(64) uint16_t parts[2][2 * kPanel];
    for (int64_t i = 0; i < 2; ++i) {
      for (int64_t c = 0; c < kPanel; c += kLanes) {
        Operand<Format::split>::put(parts[i], kPanel, c, load(rows[pair + i] + c));
      }
    }
    for (int64_t plane = 0; plane < 2; ++plane) {
      for (int64_t tile = 0; tile < kTilesPerPanel; ++tile) {
        auto* to = reinterpret_cast<uint16_t*>(block + plane * kPlaneBytes + tile * kTileBytes) +
                   pair * kTileColumns;
        const int64_t at = plane * kPanel + tile * kTileColumns;
        for (int64_t c = 0; c < kTileColumns; c += kLanes) {
          interleave(parts[0] + at + c, parts[1] + at + c, to + 2 * c);
        }
      }
    }
  }
}

// Columns [64 panel, ...) of the right factor, as a panel of packed weights with biases of zero.
template <Format kFormat>
static void pack_matrix_panel(const MatrixProduct& product, int64_t panel, char* packed) {
  __builtin_memset(packed, 0, kBiasBytes);
  packed += kBiasBytes;
  alignas(64) float rows[kInputBlock][kPanel];
  for (int64_t k = 0; k < product.k; k += kInputBlock) {
    const int64_t n_inputs = smaller(kInputBlock, product.k - k);
    read_inputs(product, k, n_inputs, panel * kPanel, rows);
    if (kFormat == Format::float32) {
      __builtin_memcpy(packed, rows, n_inputs * sizeof(*rows));
      packed += n_inputs * sizeof(*rows);
    } else {
      __builtin_memset(rows + n_inputs, 0, (kInputBlock - n_inputs) * sizeof(*rows));
      pack_pairs(rows, packed);
      packed += 2 * kTilesPerPanel * kTileBytes;
    }
  }
}

// Rows [begin, end) of the left factor as operands, `stride` elements apart.
template <Format kFormat>
static void read_operands(const MatrixProduct& product, int64_t begin, int64_t end,
                          typename Operand<kFormat>::Element* operands, int64_t stride) {
  const Factor& a = product.a;
  const int64_t n_rows = end - begin, plane = plane_of(kFormat, stride);
  // Up to a whole panel: what stands behind the last input meets weights of zero.
  for (int64_t k = 0; k < round_up(product.k, kPanel); k += kLanes) {
    const int64_t left = product.k - k;
    alignas(64) float columns[kMatrixRows][kLanes] = {};
    if (a.transposed) {
      for (int64_t i = 0; i < smaller(kLanes, left); ++i) {
        const float* from = a.values + (k + i) * a.stride + begin;
        for (int64_t row = 0; row < n_rows; ++row) columns[row][i] = from[row];
      }
    }
    for (int64_t row = 0; row < n_rows; ++row) {
      const Vec values =
          a.transposed ? load(columns[row]) : load(a.values + (begin + row) * a.stride + k, left);
      Operand<kFormat>::put(operands + row * stride, plane, k, values);
    }
  }
}

struct MatrixEpilogue {
  const MatrixProduct& product;
  int64_t first_row;

  void operator()(int64_t row, int64_t panel, const float* values) const {
    const int64_t column = panel * kPanel, count = smaller(kPanel, product.n - column);
    const int64_t at = (first_row + row) * product.n + column;
    for (int64_t i = 0; i < count; i += kLanes) {
      const int64_t left = count - i;
      Vec result = load(values + i);
      if (product.subtrahend) result -= load(product.subtrahend + at + i, left);
      if (product.rule) result = updated(*product.rule, first_row + row, column + i, result);
      store(product.c + at + i, result, left);
    }
  }

 private:
  // The new c at one place, from a b there.
  Vec updated(const Multiplicative& rule, int64_t row, int64_t column, Vec product_there) const {
    const int64_t at = row * product.n + column, left = product.n - column;
    const Vec weight = load(rule.weights + rule.labels[row] * product.n + column, left);
    const Vec denominator = product_there + weight * rule.norms[row] + rule.tiny;
    const Vec ratio = load(rule.numerator + at, left) / denominator;
    const Vec factor = rule.over_relaxed ? ratio * square_root(ratio) : ratio;
    return load(product.c + at, left) * factor;
  }
};

// Rows [begin, end) of c; `operands` has room for them, and for the spare rows of a product.
template <Format kFormat>
static void multiply_matrix_rows(const MatrixProduct& product, int64_t begin, int64_t end,
                                 const PackedLayer& layer, const char* packed, char* operands) {
  using Element = typename Operand<kFormat>::Element;
  if (begin == end) return;
  const Product<kFormat> multiply(end - begin);
  const Part part{&layer, packed, {0, layer.n_panels}};
  const MatrixEpilogue epilogue{product, begin};
  Fetcher idle;
  if constexpr (kFormat == Format::float32) {
    if (!product.a.transposed) {
      multiply.forward(product.a.values + begin * product.a.stride, product.a.stride, part, idle,
                       nullptr, epilogue);
      return;
    }
  }
  const int64_t stride = matrix_row_bytes(product.k) / static_cast<int64_t>(sizeof(Element));
  auto* a = reinterpret_cast<Element*>(operands);
  read_operands<kFormat>(product, begin, end, a, stride);
  multiply.forward(a, stride, part, idle, nullptr, epilogue);
}

}  // namespace dds::DDS_LEVEL
