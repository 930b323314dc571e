// The parts of a split matrix product: packing a panel of the right factor, and the product of some
// rows of the left one.
#pragma once

#include "dds/matrix_product.h"
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

// Columns [64 panel, ...) of b, as a panel of the split format with biases of zero.
static void pack_matrix_panel(const MatrixProduct& product, int64_t panel, char* packed) {
  constexpr int64_t kPlaneBytes = kTilesPerPanel * kTileBytes;
  const int64_t first = panel * kPanel, n_columns = smaller(kPanel, product.n - first);
  __builtin_memset(packed, 0, kBiasBytes);
  char* block = packed + kBiasBytes;
  for (int64_t k = 0; k < product.k; k += kInputBlock, block += 2 * kPlaneBytes) {
    for (int64_t pair = 0; pair < kInputBlock; pair += 2) {
      // Both rows of the pair as planes, then interleaved.
      alignas(64) uint16_t rows[2][2 * kPanel] = {};
      for (int64_t i = 0; i < 2; ++i) {
        if (k + pair + i >= product.k) continue;
        const float* from = product.b + (k + pair + i) * product.n + first;
        for (int64_t c = 0; c < n_columns; c += kLanes) {
          Operand<Format::split>::put(rows[i], kPanel, c, load(from + c, n_columns - c));
        }
      }
      for (int64_t plane = 0; plane < 2; ++plane) {
        for (int64_t tile = 0; tile < kTilesPerPanel; ++tile) {
          auto* to = reinterpret_cast<uint16_t*>(block + plane * kPlaneBytes + tile * kTileBytes) +
                     pair * kTileColumns;
          const int64_t at = plane * kPanel + tile * kTileColumns;
          for (int64_t c = 0; c < kTileColumns; c += kLanes) {
            interleave(rows[0] + at + c, rows[1] + at + c, to + 2 * c);
          }
        }
      }
    }
  }
}

struct MatrixEpilogue {
  float* c;
  int64_t n;

  void operator()(int64_t row, int64_t panel, const float* values) const {
    const int64_t first = panel * kPanel, count = smaller(kPanel, n - first);
    float* to = c + row * n + first;
    for (int64_t i = 0; i < count; i += kLanes) store(to + i, load(values + i), count - i);
  }
};

// Rows [begin, end) of c; `operands` has room for them, and for the spare rows of a product.
static void multiply_matrix_rows(const MatrixProduct& product, int64_t begin, int64_t end,
                                 const PackedLayer& layer, const char* packed, char* operands) {
  const int64_t width = round_up(product.k, kPanel), stride = 2 * width + kPanel;
  auto* a = reinterpret_cast<uint16_t*>(operands);
  for (int64_t row = begin; row < end; ++row) {
    const float* from = product.a + row * product.k;
    uint16_t* to = a + (row - begin) * stride;
    for (int64_t i = 0; i < width; i += kLanes) {
      const int64_t left = product.k - i;
      const Vec values = left > 0 ? load(from + i, left) : Vec{};
      Operand<Format::split>::put(to, plane_of(Format::split, stride), i, values);
    }
  }
  if (begin == end) return;
  const Product<Format::split> split(end - begin);
  const Part part{&layer, packed, {0, layer.n_panels}};
  Fetcher idle;
  split.forward(a, stride, part, idle, nullptr,
                MatrixEpilogue{product.c + begin * product.n, product.n});
}

}  // namespace dds::DDS_LEVEL
