#include "bank_layout.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace dds {
namespace {

constexpr int64_t kMinStages = 2;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

void require(bool condition, const std::string& message) {
  if (!condition) throw std::invalid_argument(message);
}

int32_t chunks(const BankShape& shape, const BankLayer* layers) {
  int64_t n = 0;
  for (int i = 0; i < shape.n_layers; ++i) {
    n += layers[i].n_panels * ceil_div(layers[i].n_in, chunk_inputs(shape.precision));
  }
  return static_cast<int32_t>(n);
}

// Sizes of the MLP itself, without padding.
int64_t inputs_of(const BankShape& shape, int64_t layer) {
  return layer == 0 ? shape.n_passing : shape.widths[layer - 1];
}

int64_t outputs_of(const BankShape& shape, int64_t layer) {
  return layer == shape.n_layers - 1 ? 2 * shape.n_moving : shape.widths[layer];
}

// The output of the last layer that stands in a column; may lie behind the end.
int64_t affine_output(const BankShape& shape, int64_t column) {
  const int64_t feature = column / 2;
  return feature < shape.n_moving ? feature + column % 2 * shape.n_moving : 2 * shape.n_moving;
}

// Where the weight of a column and an input of a product stands in (out, in); -1: nowhere.
int64_t weight_index(const BankShape& shape, int64_t layer, bool transposed, int64_t column,
                     int64_t input) {
  if (transposed) std::swap(column, input);
  const bool last = layer == shape.n_layers - 1;
  const int64_t out = last ? affine_output(shape, column) : column;
  if (out >= outputs_of(shape, layer) || input >= inputs_of(shape, layer)) return -1;
  return out * inputs_of(shape, layer) + input;
}

struct SharedMemory {
  int64_t size = 0;

  int32_t take(int64_t bytes) {
    const int64_t offset = size;
    size += round_up(bytes, 16);
    return static_cast<int32_t>(offset);
  }
};

int64_t operand_words(const BankShape& shape, Pass pass, int which) {
  int64_t inputs = 0;
  for (int i = which; i < shape.n_layers; i += 2) {
    if (pass != Pass::backward) inputs = std::max<int64_t>(inputs, shape.forward[i].n_in);
    if (pass != Pass::forward) inputs = std::max<int64_t>(inputs, shape.backward[i].n_in);
  }
  return shape.precision == Precision::bfloat16 ? inputs / 2 : inputs;
}

// Shared memory of a block with `row_tiles` tiles of rows: everything but the stages.
BankPlan lay_out(const BankShape& shape, Pass pass, int64_t row_tiles, int64_t n_splits) {
  BankPlan plan = {};
  plan.shape = shape;
  plan.row_tiles = static_cast<int32_t>(row_tiles);
  const bool tensor_cores = shape.precision != Precision::float32;
  plan.row_stride = static_cast<int32_t>(kRowTile * (tensor_cores ? row_tiles | 1 : row_tiles));
  plan.partial_stride = tensor_cores ? plan.row_stride : plan.row_stride + 4;
  plan.n_splits = static_cast<int32_t>(n_splits);
  const int64_t row_bytes = plan.row_stride * 4;
  SharedMemory memory;
  plan.barriers = memory.take(kMaxStages * 8);
  plan.state = memory.take(shape.n_features() * row_bytes);
  for (int i = 0; i < 2; ++i) {
    plan.operands[i] = memory.take(operand_words(shape, pass, i) * row_bytes);
  }
  // Also holds the sums per row at the end of a pass: those of each warp, then those of each CTA.
  const int64_t sums = (kBankWarps + shape.n_ctas) * kRowTile * kMaxRowTiles * 4;
  plan.partials = memory.take(std::max(n_splits * kPanelColumns * plan.partial_stride * 4, sums));
  for (int32_t& record : plan.records) record = memory.take(record_bytes(shape.n_features()));
  plan.row_values = memory.take(kRowTile * kMaxRowTiles * 4);
  constexpr int64_t kBulkAlignment = 128;
  plan.stages = static_cast<int32_t>(round_up(memory.size, kBulkAlignment));
  plan.shared_bytes = plan.stages;
  return plan;
}

}  // namespace

BankShape make_bank_shape(Precision precision, int64_t n_features, int64_t n_passing,
                          const std::vector<int64_t>& hidden_widths, int64_t n_steps,
                          int64_t n_ctas) {
  require(n_features <= kMaxFeatures, "serves up to " + std::to_string(kMaxFeatures) +
                                          " features, not " + std::to_string(n_features));
  require(hidden_widths.size() + 1 <= kMaxLayers, "serves up to " + std::to_string(kMaxLayers - 1) +
                                                      " hidden layers, not " +
                                                      std::to_string(hidden_widths.size()));
  for (int64_t width : hidden_widths) {
    require(width <= kMaxWidth, "serves hidden layers of up to " + std::to_string(kMaxWidth) +
                                    " units, not " + std::to_string(width));
  }
  require(n_passing > 0 && n_passing < n_features, "serves flows of at least two features");
  require(n_ctas == 1 || n_ctas == 2, "one or two CTAs share a flow");
  BankShape shape = {};
  shape.precision = precision;
  shape.n_passing = static_cast<int32_t>(n_passing);
  shape.n_moving = static_cast<int32_t>(n_features - n_passing);
  shape.n_steps = static_cast<int32_t>(n_steps);
  shape.n_layers = static_cast<int32_t>(hidden_widths.size() + 1);
  shape.n_ctas = static_cast<int32_t>(n_ctas);
  std::copy(hidden_widths.begin(), hidden_widths.end(), shape.widths);
  const int64_t columns = kPanelColumns * n_ctas;  // of one panel of each CTA
  const auto panels = [&](int64_t n_out) { return static_cast<int32_t>(ceil_div(n_out, columns)); };
  for (int i = 0; i < shape.n_layers; ++i) {
    const bool last = i == shape.n_layers - 1;
    BankLayer& layer = shape.forward[i];
    layer.n_panels = panels(last ? 2 * shape.n_moving : shape.widths[i]);
    layer.n_in = static_cast<int32_t>(i == 0 ? round_up(n_passing, 16)
                                             : shape.forward[i - 1].n_panels * columns);
  }
  for (int i = 0; i < shape.n_layers; ++i) {
    BankLayer& layer = shape.backward[i];
    const int transposed = shape.n_layers - 1 - i;
    layer.n_panels = panels(inputs_of(shape, transposed));
    layer.n_in = static_cast<int32_t>(shape.forward[transposed].n_panels * columns);
  }
  shape.forward_chunks = chunks(shape, shape.forward);
  shape.backward_chunks = chunks(shape, shape.backward);
  return shape;
}

void bank_sources(const BankShape& shape, bool transposed, int64_t* weights, int64_t* biases) {
  std::vector<int64_t> first_weight, first_bias;
  int64_t n_weights = 0, n_biases = 0;
  for (int i = 0; i < shape.n_layers; ++i) {
    first_weight.push_back(n_weights);
    first_bias.push_back(n_biases);
    n_weights += outputs_of(shape, i) * inputs_of(shape, i);
    n_biases += outputs_of(shape, i);
  }
  const int per_chunk = chunk_inputs(shape.precision);
  for (int64_t cta = 0; cta < shape.n_ctas; ++cta) {
    for (int i = 0; i < shape.n_layers; ++i) {
      const BankLayer& product = transposed ? shape.backward[i] : shape.forward[i];
      const int layer = transposed ? shape.n_layers - 1 - i : i;
      for (int64_t panel = 0; panel < product.n_panels; ++panel) {
        const int64_t first_column = (cta * product.n_panels + panel) * kPanelColumns;
        for (int64_t first_input = 0; first_input < product.n_in; first_input += per_chunk) {
          for (int e = 0; e < chunk_weights(shape.precision); ++e) {
            const ChunkPlace place = chunk_place(shape.precision, e);
            const int64_t index = weight_index(
                shape, layer, transposed, first_column + place.column, first_input + place.input);
            *weights++ = index < 0 ? -1 : first_weight[layer] + index;
          }
          const bool with_bias = !transposed && first_input + per_chunk >= product.n_in;
          for (int64_t column = first_column; column < first_column + kPanelColumns; ++column) {
            const bool last = layer == shape.n_layers - 1;
            const int64_t out = last ? affine_output(shape, column) : column;
            const bool present = with_bias && out < outputs_of(shape, layer);
            *biases++ = present ? first_bias[layer] + out : -1;
          }
        }
      }
    }
  }
}

BankPlan make_bank_plan(const BankShape& shape, Pass pass, int64_t n_rows, int64_t shared_memory) {
  const int64_t tiles = ceil_div(n_rows, kRowTile);
  const auto stages = [&](const BankPlan& plan) {
    return (shared_memory - plan.shared_bytes) / kChunkBytes;
  };
  // Fewest blocks that fit, then the rows shared out evenly.
  int64_t row_tiles = std::clamp<int64_t>(tiles, 1, kMaxRowTiles);
  constexpr int64_t kFewestSplits = 2;
  while (stages(lay_out(shape, pass, row_tiles, kFewestSplits)) < kMinStages) {
    require(--row_tiles > 0,
            "needs " +
                std::to_string(lay_out(shape, pass, 1, kFewestSplits).shared_bytes +
                               kMinStages * kChunkBytes) +
                " bytes of shared memory per block, the device has " +
                std::to_string(shared_memory));
  }
  const int64_t n_blocks = std::max<int64_t>(ceil_div(tiles, row_tiles), 1);
  row_tiles = std::max<int64_t>(ceil_div(tiles, n_blocks), 1);
  // Two splits of the tensor cores' tiles; in float32 as many as there are half-warps, while there
  // is room.
  int64_t n_splits = kFewestSplits;
  constexpr int64_t kComfortableStages = 4, kMostSplits = 8;
  if (shape.precision == Precision::float32) {
    n_splits = std::min<int64_t>(2 * kBankWarps / row_tiles, kMostSplits);
    while (n_splits > kFewestSplits &&
           stages(lay_out(shape, pass, row_tiles, n_splits)) < kComfortableStages) {
      --n_splits;
    }
  }
  BankPlan plan = lay_out(shape, pass, row_tiles, n_splits);
  plan.n_stages = static_cast<int32_t>(std::min<int64_t>(stages(plan), kMaxStages));
  plan.shared_bytes += plan.n_stages * kChunkBytes;
  plan.n_rows = static_cast<int32_t>(n_rows);
  plan.n_row_blocks = static_cast<int32_t>(n_blocks);
  plan.stash_tiles = static_cast<int32_t>(std::max<int64_t>(tiles, 1));
  for (int i = 0; i + 1 < shape.n_layers; ++i) {
    plan.hidden_block[i] = plan.stash_blocks;
    plan.stash_blocks += shape.forward[i].n_panels * shape.n_ctas * kPanelPairs / 4;
  }
  plan.affine_block = plan.stash_blocks;
  plan.stash_blocks += shape.forward[shape.n_layers - 1].n_panels * shape.n_ctas * kPanelPairs / 4;
  return plan;
}

int64_t bank_stash_bytes(const BankPlan& plan) {
  const int64_t pair_bytes = plan.shape.precision == Precision::bfloat16 ? 4 : 8;
  return static_cast<int64_t>(plan.stash_blocks) * plan.stash_tiles * 32 * pair_bytes;
}

}  // namespace dds
