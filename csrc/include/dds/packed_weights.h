// Layout of the prepacked weights of a coupling's MLP.
//
// A weight matrix becomes a sequence of panels of kPanel output columns. A panel holds one row of
// kPanel biases (forward only), then one row of kPanel weights per input, so that a kernel reads it
// front to back once. The last panel is padded with zeros.
//
//   forward:  output column n, input k = weight[n][k]; layers first to last. In the last layer,
//             panel p holds the columns [p * kHalfPanel, ...) of the raw log-scale in its first
//             half and those of the translation in its second half: the affine epilogue needs both.
//   backward: output column n, input k = weight[k][n] (no biases); layers last to first.
//
// The layers of one group lie one after the other: one pass over a group is one linear stream.
#pragma once

#include <cstdint>
#include <vector>

namespace dds {

constexpr int64_t kPanel = 64;
constexpr int64_t kHalfPanel = kPanel / 2;

// Widths of an MLP's activations: input, hidden layers, output (raw log-scale and translation).
using Widths = std::vector<int64_t>;

struct PackedLayer {
  int64_t n_in;
  int64_t n_out;
  int64_t n_panels;
  int64_t panel_size;  // in floats
  int64_t offset;      // of the first panel within the group, in floats
};

// The layers in the order in which they are applied.
std::vector<PackedLayer> forward_layout(const Widths& widths);
std::vector<PackedLayer> backward_layout(const Widths& widths);

// Floats that one group takes.
int64_t packed_size(const std::vector<PackedLayer>& layout);

// `weights[i]`: (groups, widths[i + 1], widths[i]); `biases[i]`: (groups, widths[i + 1]); both
// contiguous, first layer first. `packed` has room for groups * packed_size(...) floats.
void pack_forward(int64_t groups, const Widths& widths, const std::vector<const float*>& weights,
                  const std::vector<const float*>& biases, float* packed, int n_threads);
void pack_backward(int64_t groups, const Widths& widths, const std::vector<const float*>& weights,
                   float* packed, int n_threads);

}  // namespace dds
