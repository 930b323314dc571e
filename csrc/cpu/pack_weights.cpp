#include <cstring>

#include "packed_weights.h"

namespace dds {
namespace {

// Which row or column of a matrix stands at each packed place; -1 for padding.
using Sources = std::vector<int64_t>;

Sources first(int64_t n, int64_t padded) {
  Sources sources(padded, -1);
  for (int64_t i = 0; i < n; ++i) sources[i] = i;
  return sources;
}

// Columns of the last layer: [raw log-scale | translation] in halves of panels.
Sources halves(int64_t n_moving, int64_t n_panels) {
  Sources sources(n_panels * kPanel, -1);
  for (int64_t i = 0; i < n_moving; ++i) {
    const int64_t place = i / kHalfPanel * kPanel + i % kHalfPanel;
    sources[place] = i;
    sources[place + kHalfPanel] = n_moving + i;
  }
  return sources;
}

Sources places_of_state(const FlowLayout& layout) {
  Sources sources(layout.state_width, -1);
  for (int64_t i = 0; i < layout.n_passing; ++i) sources[i] = i;
  for (int64_t i = 0; i < layout.n_moving; ++i) {
    sources[layout.passing_width + i] = layout.n_passing + i;
  }
  return sources;
}

uint16_t to_bfloat16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float from_bfloat16(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float result;
  std::memcpy(&result, &bits, 4);
  return result;
}

void put(Format format, int64_t k, int64_t column, float weight, char* panel) {
  if (format == Format::float32) {
    reinterpret_cast<float*>(panel)[k * kPanel + column] = weight;
    return;
  }
  const int64_t block = k / kInputBlock * kTilesPerPanel * planes(format);
  const int64_t in_tile =
      k % kInputBlock / 2 * kTileColumns * 2 + column % kTileColumns * 2 + k % 2;
  auto* tile = reinterpret_cast<uint16_t*>(panel + (block + column / kTileColumns) * kTileBytes);
  const uint16_t leading = to_bfloat16(weight);
  tile[in_tile] = leading;
  if (format == Format::split) {
    tile[kTilesPerPanel * kTileBytes / 2 + in_tile] = to_bfloat16(weight - from_bfloat16(leading));
  }
}

// `weight`: rows of `stride` floats, one per output.
void pack_layer(Format format, const PackedLayer& layer, const Sources& inputs,
                const Sources& columns, const float* weight, int64_t stride, const float* bias,
                char* packed) {
  char* panels = packed + layer.offset;
  std::memset(panels, 0, layer.n_panels * layer.panel_bytes);
  for (int64_t i = 0; i < layer.n_panels * kPanel; ++i) {
    if (columns[i] < 0) continue;
    char* panel = panels + i / kPanel * layer.panel_bytes;
    reinterpret_cast<float*>(panel)[i % kPanel] = bias[columns[i]];
    const float* row = weight + columns[i] * stride;
    for (int64_t k = 0; k < layer.n_in; ++k) {
      if (inputs[k] >= 0) put(format, k, i % kPanel, row[inputs[k]], panel + kBiasBytes);
    }
  }
}

}  // namespace

PackedLayer make_layer(Format format, int64_t n_in, int64_t n_panels, int64_t offset) {
  const int64_t row_bytes = format == Format::float32 ? kPanel * 4 : kPanel * 2 * planes(format);
  const int64_t rows = format == Format::float32 ? n_in : round_up(n_in, kInputBlock);
  return {n_in, row_bytes, n_panels, kBiasBytes + rows * row_bytes, offset};
}

FlowLayout make_layout(Format format, Format mixing_format, int64_t n_passing, int64_t n_moving,
                       const std::vector<int64_t>& hidden_widths,
                       std::vector<PackedLayer>& layers) {
  FlowLayout layout;
  layout.format = format;
  layout.mixing_format = mixing_format;
  layout.n_passing = n_passing;
  layout.n_moving = n_moving;
  layout.passing_width = round_up(n_passing, kPanel);
  layout.moving_width = round_up(n_moving, kPanel);
  layout.state_width = layout.passing_width + layout.moving_width;
  layout.coupling_bytes = 0;
  layers.clear();
  int64_t n_in = n_passing;
  const auto append = [&](int64_t n_panels) {
    layers.push_back(make_layer(format, n_in, n_panels, layout.coupling_bytes));
    layout.coupling_bytes += n_panels * layers.back().panel_bytes;
  };
  for (int64_t width : hidden_widths) {
    append(ceil_div(width, kPanel));
    n_in = width;
  }
  append(ceil_div(n_moving, kHalfPanel));
  layout.layers = layers.data();
  layout.n_layers = static_cast<int64_t>(layers.size());
  layout.mixing =
      make_layer(layout.mixing_format, layout.state_width, layout.state_width / kPanel, 0);
  layout.mixing_bytes = layout.mixing.n_panels * layout.mixing.panel_bytes;
  return layout;
}

void pack_coupling(const FlowLayout& layout, int64_t groups,
                   const std::vector<const float*>& weights,
                   const std::vector<const float*>& biases, char* packed, int n_threads) {
#pragma omp parallel for num_threads(n_threads)
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t i = 0; i < layout.n_layers; ++i) {
      const PackedLayer& layer = layout.layers[i];
      const bool last = i + 1 == layout.n_layers;
      const int64_t n_out = last ? 2 * layout.n_moving : layout.layers[i + 1].n_in;
      const Sources columns =
          last ? halves(layout.n_moving, layer.n_panels) : first(n_out, layer.n_panels * kPanel);
      pack_layer(layout.format, layer, first(layer.n_in, layer.n_in), columns,
                 weights[i] + g * n_out * layer.n_in, layer.n_in, biases[i] + g * n_out,
                 packed + g * layout.coupling_bytes);
    }
  }
}

void pack_mixing(const FlowLayout& layout, int64_t groups, const float* matrix, const float* bias,
                 char* packed, int n_threads) {
  const int64_t n_features = layout.n_features();
  const Sources places = places_of_state(layout);
#pragma omp parallel for num_threads(n_threads)
  for (int64_t g = 0; g < groups; ++g) {
    pack_layer(layout.mixing_format, layout.mixing, places, places,
               matrix + g * n_features * n_features, n_features, bias + g * n_features,
               packed + g * layout.mixing_bytes);
  }
}

}  // namespace dds
