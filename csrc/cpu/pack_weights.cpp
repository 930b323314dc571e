#include <algorithm>

#include "dds/packed_weights.h"

namespace dds {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

void append(std::vector<PackedLayer>& layout, int64_t n_in, int64_t n_out, int64_t n_panels,
            int64_t panel_rows) {
  const int64_t offset = packed_size(layout);
  layout.push_back({n_in, n_out, n_panels, panel_rows * kPanel, offset});
}

// Where column `column` of panel `panel` of a forward layer comes from, or -1 for padding.
int64_t forward_source(int64_t panel, int64_t column, int64_t n_out, bool last) {
  if (!last) {
    const int64_t source = panel * kPanel + column;
    return source < n_out ? source : -1;
  }
  const int64_t half = n_out / 2;
  const int64_t source = panel * kHalfPanel + column % kHalfPanel;
  if (source >= half) return -1;
  return column < kHalfPanel ? source : half + source;
}

void pack_forward_layer(const PackedLayer& layer, bool last, const float* weight, const float* bias,
                        float* panels) {
  for (int64_t p = 0; p < layer.n_panels; ++p) {
    float* biases = panels + p * layer.panel_size;
    float* rows = biases + kPanel;
    for (int64_t column = 0; column < kPanel; ++column) {
      const int64_t source = forward_source(p, column, layer.n_out, last);
      biases[column] = source < 0 ? 0.0f : bias[source];
      for (int64_t k = 0; k < layer.n_in; ++k) {
        rows[k * kPanel + column] = source < 0 ? 0.0f : weight[source * layer.n_in + k];
      }
    }
  }
}

void pack_backward_layer(const PackedLayer& layer, const float* weight, float* panels) {
  for (int64_t p = 0; p < layer.n_panels; ++p) {
    float* rows = panels + p * layer.panel_size;
    const int64_t first = p * kPanel;
    const int64_t count = std::min(kPanel, layer.n_out - first);
    for (int64_t k = 0; k < layer.n_in; ++k) {
      float* row = rows + k * kPanel;
      std::copy_n(weight + k * layer.n_out + first, count, row);
      std::fill(row + count, row + kPanel, 0.0f);
    }
  }
}

}  // namespace

std::vector<PackedLayer> forward_layout(const Widths& widths) {
  std::vector<PackedLayer> layout;
  for (size_t i = 0; i + 1 < widths.size(); ++i) {
    const bool last = i + 2 == widths.size();
    const int64_t n_out = widths[i + 1];
    const int64_t n_panels = last ? ceil_div(n_out / 2, kHalfPanel) : ceil_div(n_out, kPanel);
    append(layout, widths[i], n_out, n_panels, widths[i] + 1);
  }
  return layout;
}

std::vector<PackedLayer> backward_layout(const Widths& widths) {
  std::vector<PackedLayer> layout;
  for (size_t i = widths.size() - 1; i > 0; --i) {
    append(layout, widths[i], widths[i - 1], ceil_div(widths[i - 1], kPanel), widths[i]);
  }
  return layout;
}

int64_t packed_size(const std::vector<PackedLayer>& layout) {
  if (layout.empty()) return 0;
  return layout.back().offset + layout.back().n_panels * layout.back().panel_size;
}

void pack_forward(int64_t groups, const Widths& widths, const std::vector<const float*>& weights,
                  const std::vector<const float*>& biases, float* packed, int n_threads) {
  const std::vector<PackedLayer> layout = forward_layout(widths);
  const int64_t group_size = packed_size(layout);
#pragma omp parallel for num_threads(n_threads)
  for (int64_t g = 0; g < groups; ++g) {
    for (size_t i = 0; i < layout.size(); ++i) {
      const PackedLayer& layer = layout[i];
      pack_forward_layer(layer, i + 1 == layout.size(), weights[i] + g * layer.n_out * layer.n_in,
                         biases[i] + g * layer.n_out, packed + g * group_size + layer.offset);
    }
  }
}

void pack_backward(int64_t groups, const Widths& widths, const std::vector<const float*>& weights,
                   float* packed, int n_threads) {
  const std::vector<PackedLayer> layout = backward_layout(widths);
  const int64_t group_size = packed_size(layout);
#pragma omp parallel for num_threads(n_threads)
  for (int64_t g = 0; g < groups; ++g) {
    for (size_t i = 0; i < layout.size(); ++i) {
      const PackedLayer& layer = layout[i];
      const float* weight = weights[layout.size() - 1 - i] + g * layer.n_out * layer.n_in;
      pack_backward_layer(layer, weight, packed + g * group_size + layer.offset);
    }
  }
}

}  // namespace dds
