// Layout of prepacked weights.
//
// A matrix becomes a sequence of panels of kPanel output columns: kPanel biases in float, then the
// weights. A kernel reads a panel front to back once. Missing columns and inputs are zeros.
//
//   float32:  one row of kPanel floats per input.
//   bfloat16: per kInputBlock inputs four tiles of kTileColumns columns; a tile holds one row per
//             pair of inputs, the pairs of its columns side by side (the operand of the bfloat16
//             dot products of AVX-512 and AMX).
//   split:    likewise, the four tiles of the leading bfloat16 part before those of the remainder.
//
// The layers of one group lie one after the other, so a pass over a group is one linear stream. The
// same copy serves the gradient: the kernels read it across.
#pragma once

#include <cstdint>
#include <vector>

namespace dds {

enum class Format { float32, bfloat16, split };

constexpr int64_t kPanel = 64;
constexpr int64_t kHalfPanel = kPanel / 2;
constexpr int64_t kBiasBytes = kPanel * 4;
constexpr int64_t kInputBlock = 32;
constexpr int64_t kTileColumns = 16;
constexpr int64_t kTileBytes = kInputBlock * kTileColumns * 2;
constexpr int64_t kTilesPerPanel = kPanel / kTileColumns;

// Static: each kernel file compiles them with flags of its own.
static constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static constexpr int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// bfloat16 numbers per weight.
static constexpr int64_t planes(Format format) { return format == Format::split ? 2 : 1; }

struct PackedLayer {
  int64_t n_in;
  int64_t input_bytes;  // of one input's weights within a panel
  int64_t n_panels;
  int64_t panel_bytes;
  int64_t offset;  // of the first panel within the group, in bytes
};

PackedLayer make_layer(Format format, int64_t n_in, int64_t n_panels, int64_t offset);

// A coupling's MLP and its mixing, as they are packed.
//
// The state of a row holds the passing half in its first `passing_width` places and the moving half
// behind it, both padded to whole panels. In the MLP's last layer, panel p holds the columns
// [p * kHalfPanel, ...) of the raw log-scale in its first half and those of the translation in its
// second half: the affine epilogue needs both.
struct FlowLayout {
  Format format;
  Format mixing_format;  // float32 or split: the state is not rounded to bfloat16
  int64_t n_passing;
  int64_t n_moving;
  int64_t passing_width;
  int64_t moving_width;
  int64_t state_width;
  const PackedLayer* layers;  // first to last
  int64_t n_layers;
  int64_t coupling_bytes;  // of one group
  PackedLayer mixing;
  int64_t mixing_bytes;  // of one group

  int64_t n_features() const { return n_passing + n_moving; }
};

// The layout points into `layers`. The mixing of float32 couplings is float32.
FlowLayout make_layout(Format format, Format mixing_format, int64_t n_passing, int64_t n_moving,
                       const std::vector<int64_t>& hidden_widths, std::vector<PackedLayer>& layers);

// `weights[i]`: (groups, out, in), `biases[i]`: (groups, out), contiguous, first layer first.
// `packed` has room for groups * layout.coupling_bytes.
void pack_coupling(const FlowLayout& layout, int64_t groups,
                   const std::vector<const float*>& weights,
                   const std::vector<const float*>& biases, char* packed, int n_threads);

// `matrix`: (groups, F, F) and `bias`: (groups, F) of y = matrix x + bias, contiguous. `packed` has
// room for groups * layout.mixing_bytes.
void pack_mixing(const FlowLayout& layout, int64_t groups, const float* matrix, const float* bias,
                 char* packed, int n_threads);

}  // namespace dds
