// Products of rows with packed bfloat16 weights, in one plane or split into two, on AMX tiles.
//
// Tiles 0..3 sum, 4 and 5 hold rows, 6 and 7 weights. All rows of a block are cut into tiles of the
// same height, so that the tiles are configured once per block; the last tile may read rows behind
// the block, whose results are not used.
#pragma once

#include "amx_tiles.h"
#include "cpu/packed_weights.h"
#include "product.h"
#include "product_bfloat16.h"
#include "transpose.h"

namespace dds::DDS_LEVEL {

template <Format kFormat>
struct AmxProduct {
  static constexpr int64_t kStep = kTilesPerPanel * kTileBytes;  // of one plane
  static constexpr int64_t kInputStep = kStep * planes(kFormat);
  static constexpr int kStride = kPanel * 4;  // of the values' rows, in bytes

  explicit AmxProduct(int64_t rows)
      : rows(rows),
        n_bands(ceil_div(rows, 2 * kMaxTileHeight)),
        paired(rows > kMaxTileHeight),
        height(paired ? ceil_div(rows, 2 * n_bands) : rows) {
    configure_tiles(height);
  }

  ~AmxProduct() { _tile_release(); }

  AmxProduct(const AmxProduct&) = delete;
  AmxProduct& operator=(const AmxProduct&) = delete;

  // Sums of two tiles of rows x two tiles of columns.
  void two_by_two(const uint16_t* a, int64_t stride, int64_t n_steps, const char* weights,
                  Fetcher& fetcher) const {
    const int64_t row_bytes = stride * 2;
    const uint16_t* below = a + height * stride;
    for (int64_t i = 0; i < n_steps; ++i, weights += kInputStep) {
      fetcher.turn();
      _tile_loadd(4, a + i * kInputBlock, row_bytes);
      _tile_loadd(6, weights, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, weights + kTileBytes, 64);
      _tile_dpbf16ps(1, 4, 7);
      _tile_loadd(5, below + i * kInputBlock, row_bytes);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
      if (kFormat == Format::split) {
        _tile_loadd(6, weights + kStep, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(2, 5, 6);
        _tile_loadd(7, weights + kStep + kTileBytes, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(3, 5, 7);
        const int64_t plane = plane_of(kFormat, stride);
        _tile_loadd(4, a + plane + i * kInputBlock, row_bytes);
        _tile_loadd(6, weights, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(5, below + plane + i * kInputBlock, row_bytes);
        _tile_dpbf16ps(2, 5, 6);
        _tile_loadd(7, weights + kTileBytes, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(3, 5, 7);
      }
    }
  }

  // Sums of one tile of rows x four tiles of columns.
  void one_by_four(const uint16_t* a, int64_t stride, int64_t n_steps, const char* weights,
                   Fetcher& fetcher) const {
    const int64_t row_bytes = stride * 2;
    for (int64_t i = 0; i < n_steps; ++i, weights += kInputStep) {
      fetcher.turn();
      _tile_loadd(4, a + i * kInputBlock, row_bytes);
      _tile_loadd(6, weights, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, weights + kTileBytes, 64);
      _tile_dpbf16ps(1, 4, 7);
      _tile_loadd(6, weights + 2 * kTileBytes, 64);
      _tile_dpbf16ps(2, 4, 6);
      _tile_loadd(7, weights + 3 * kTileBytes, 64);
      _tile_dpbf16ps(3, 4, 7);
      if (kFormat == Format::split) {
        const char* rest = weights + kStep;
        _tile_loadd(6, rest, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, rest + kTileBytes, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(6, rest + 2 * kTileBytes, 64);
        _tile_dpbf16ps(2, 4, 6);
        _tile_loadd(7, rest + 3 * kTileBytes, 64);
        _tile_dpbf16ps(3, 4, 7);
        _tile_loadd(5, a + plane_of(kFormat, stride) + i * kInputBlock, row_bytes);
        _tile_loadd(6, weights, 64);
        _tile_dpbf16ps(0, 5, 6);
        _tile_loadd(7, weights + kTileBytes, 64);
        _tile_dpbf16ps(1, 5, 7);
        _tile_loadd(6, weights + 2 * kTileBytes, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_loadd(7, weights + 3 * kTileBytes, 64);
        _tile_dpbf16ps(3, 5, 7);
      }
    }
  }

  // The products of one band of rows with one panel.
  void multiply_band(const uint16_t* a, int64_t stride, int64_t n_in, const char* panel,
                     Fetcher& fetcher, float* values) const {
    const auto* bias = reinterpret_cast<const float*>(panel);
    const char* weights = panel + kBiasBytes;
    const int64_t n_steps = ceil_div(n_in, kInputBlock);
    // A stride of 0 reads the biases for every row.
    if (!paired) {
      _tile_loadd(0, bias, 0);
      _tile_loadd(1, bias + 16, 0);
      _tile_loadd(2, bias + 32, 0);
      _tile_loadd(3, bias + 48, 0);
      one_by_four(a, stride, n_steps, weights, fetcher);
      _tile_stored(0, values, kStride);
      _tile_stored(1, values + 16, kStride);
      _tile_stored(2, values + 32, kStride);
      _tile_stored(3, values + 48, kStride);
      return;
    }
    for (int64_t half = 0; half < 2; ++half) {
      _tile_loadd(0, bias + half * 32, 0);
      _tile_loadd(1, bias + half * 32 + 16, 0);
      _tile_loadd(2, bias + half * 32, 0);
      _tile_loadd(3, bias + half * 32 + 16, 0);
      two_by_two(a, stride, n_steps, weights + half * 2 * kTileBytes, fetcher);
      float* target = values + half * 32;
      _tile_stored(0, target, kStride);
      _tile_stored(1, target + 16, kStride);
      _tile_stored(2, target + height * kPanel, kStride);
      _tile_stored(3, target + height * kPanel + 16, kStride);
    }
  }

  // A band's values and its epilogue, which runs while the tiles multiply the next band.
  template <class Epilogue>
  struct Bands {
    const AmxProduct& product;
    const Epilogue& epilogue;
    alignas(64) float values[2][2 * kMaxTileHeight * kPanel];
    int current = 0;
    int64_t index = 0;
    int64_t begin = 0;
    int64_t end = 0;

    void multiply(const uint16_t* a, int64_t stride, int64_t n_in, const char* panel,
                  Fetcher& fetcher, int64_t panel_index) {
      for (int64_t band = 0; band < product.n_bands; ++band) {
        const int64_t first = band * 2 * product.height;
        const int64_t last = smaller(product.rows, first + 2 * product.height);
        product.multiply_band(a + first * stride, stride, n_in, panel, fetcher, values[current]);
        finish(fetcher);
        index = panel_index;
        begin = first;
        end = last;
        current ^= 1;
      }
    }

    void finish(Fetcher& fetcher) {
      const float* row_values = values[current ^ 1];
      for (int64_t row = begin; row < end; ++row, row_values += kPanel) {
        epilogue(row, index, row_values);
        fetcher.turn();
      }
    }
  };

  template <class Epilogue>
  void forward(const uint16_t* a, int64_t stride, const Part& part, Fetcher& fetcher, char*,
               const Epilogue& epilogue) const {
    Bands<Epilogue> bands{*this, epilogue};
    for (int64_t p = part.range.begin; p < part.range.end; ++p) {
      fetcher.reading(part.layer->panel_bytes);
      bands.multiply(a, stride, part.layer->n_in, part.panel(p), fetcher, p);
    }
    bands.finish(fetcher);
  }

  template <class Epilogue>
  void backward(const uint16_t* a, int64_t stride, const Part& part, Fetcher& fetcher,
                char* workspace, const Epilogue& epilogue) const {
    if (rows <= kFewPairRows) {
      return backward_of_few_pair_rows<kFormat>(rows, a, stride, part, fetcher, epilogue);
    }
    const int64_t n_in = part.layer->n_panels * kPanel;
    Bands<Epilogue> bands{*this, epilogue};
    for (int64_t b = part.range.begin; b < part.range.end; ++b) {
      fetcher.reading(part.layer->n_panels * kPanel * part.layer->input_bytes);
      transpose_block<kFormat>(part, b, fetcher, workspace);
      bands.multiply(a, stride, n_in, workspace, fetcher, b);
    }
    bands.finish(fetcher);
  }

  int64_t forward_turns(const PackedLayer& layer) const { return turns(layer.n_in); }

  int64_t backward_turns(const PackedLayer& layer) const {
    if (rows <= kFewPairRows) return layer.n_panels * kPanel / 2;
    return tiles_of_block<kFormat>(layer) + turns(layer.n_panels * kPanel);
  }

  int64_t turns(int64_t n_in) const {
    return rows + (paired ? 2 * n_bands : 1) * ceil_div(n_in, kInputBlock);
  }

  int64_t rows;
  int64_t n_bands;
  bool paired;
  int64_t height;
};

template <>
struct Product<Format::bfloat16> : AmxProduct<Format::bfloat16> {
  using AmxProduct::AmxProduct;
};
template <>
struct Product<Format::split> : AmxProduct<Format::split> {
  using AmxProduct::AmxProduct;
};

}  // namespace dds::DDS_LEVEL
