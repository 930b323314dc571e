// A panel of the transpose of a packed bfloat16 layer: kPanel of its inputs become the columns, its
// packed columns the inputs.
#pragma once

#ifdef __AVX512BW__
#include <immintrin.h>
#endif

#include "cpu/packed_weights.h"
#include "product.h"

namespace dds::DDS_LEVEL {

// From the tile of 32 inputs x 16 columns to two half tiles of 16 columns x 16 inputs: rows of
// pairs of columns, for the first and for the last 16 inputs.
#ifdef __AVX512BW__
static inline void transpose_tile(const char* tile, char* first, char* last) {
  // Rows of pairs of inputs, in the order in which interleaving pairs of columns sorts them.
  constexpr int kOrder[16] = {0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15};
  __m512i a[16], b[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) a[i] = _mm512_loadu_si512(tile + kOrder[i] * 64);
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
    b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
    a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
    a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
    a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512i even = _mm512_shuffle_i32x4(a[i], a[i + 4], 0x88);
    const __m512i odd = _mm512_shuffle_i32x4(a[i], a[i + 4], 0xdd);
    const __m512i even_last = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0x88);
    const __m512i odd_last = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0xdd);
    b[i] = _mm512_shuffle_i32x4(even, even_last, 0x88);
    b[i + 4] = _mm512_shuffle_i32x4(odd, odd_last, 0x88);
    b[i + 8] = _mm512_shuffle_i32x4(even, even_last, 0xdd);
    b[i + 12] = _mm512_shuffle_i32x4(odd, odd_last, 0xdd);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    _mm512_storeu_si512(first + i * 64, _mm512_unpacklo_epi16(b[2 * i], b[2 * i + 1]));
    _mm512_storeu_si512(last + i * 64, _mm512_unpackhi_epi16(b[2 * i], b[2 * i + 1]));
  }
}
#else
static inline void transpose_tile(const char* tile, char* first, char* last) {
  const auto* from = reinterpret_cast<const uint16_t*>(tile);
  for (int k = 0; k < kInputBlock; ++k) {
    auto* to = reinterpret_cast<uint16_t*>(k < 16 ? first : last) + k % 16 * 2;
    for (int n = 0; n < kTileColumns; ++n) {
      to[n / 2 * kTileColumns * 2 + n % 2] = from[k / 2 * kTileColumns * 2 + n * 2 + k % 2];
    }
  }
}
#endif

// Tiles of a transposed panel: its turns to fetch.
template <Format kFormat>
static int64_t tiles_of_block(const PackedLayer& layer) {
  return layer.n_panels * (kPanel / kInputBlock) * planes(kFormat) * kTilesPerPanel;
}

// `block` counts kPanel inputs. The panel's biases are zeros.
template <Format kFormat>
static void transpose_block(const Part& part, int64_t block, Fetcher& fetcher, char* panel) {
  const PackedLayer& layer = *part.layer;
  constexpr int64_t kStep = kTilesPerPanel * kTileBytes;  // of one plane
  constexpr int64_t kInputStep = kStep * planes(kFormat);
  constexpr int64_t kHalves = kPanel / kInputBlock;
  __builtin_memset(panel, 0, kBiasBytes);
  panel += kBiasBytes;
  const int64_t n_halves = smaller(kHalves, ceil_div(layer.n_in, kInputBlock) - block * kHalves);
  for (int64_t p = 0; p < layer.n_panels; ++p) {
    const char* weights = part.panel(p) + kBiasBytes + block * kHalves * kInputStep;
    // The columns of a panel fill two input steps of the transpose.
    char* target = panel + p * 2 * kInputStep;
    for (int64_t half = 0; half < kHalves; ++half) {
      for (int64_t plane = 0; plane < planes(kFormat); ++plane) {
        for (int64_t tile = 0; tile < kTilesPerPanel; ++tile) {
          char* to = target + tile / 2 * kInputStep + plane * kStep + half * 2 * kTileBytes +
                     tile % 2 * (kTileBytes / 2);
          fetcher.turn();
          if (half < n_halves) {
            transpose_tile(weights + half * kInputStep + plane * kStep + tile * kTileBytes, to,
                           to + kTileBytes);
          } else {
            __builtin_memset(to, 0, kTileBytes / 2);
            __builtin_memset(to + kTileBytes, 0, kTileBytes / 2);
          }
        }
      }
    }
  }
}

}  // namespace dds::DDS_LEVEL
