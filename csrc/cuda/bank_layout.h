// How the CUDA kernels hold a flow bank: the order in which weights are streamed, and what lies
// where in the shared memory of a block.
//
// A cluster of CTAs shares one flow. Each product is cut into panels of kPanelColumns output
// columns, the panels are shared out among the CTAs, and a CTA's panels are cut along the inputs
// into chunks. All chunks have the same size, kChunkBytes: 16 KiB of weights and then
// kPanelColumns biases in float (of the panel's last chunk; zeros in the others). The chunks of one
// CTA and step lie in the order in which a pass reads them, so a chunk is one bulk copy, and the
// steps one after the other:
//
//   [group][step][CTA][chunk], chunks ordered by layer, panel, input.
//
// Missing columns and inputs are zeros. The gradient streams a copy of its own, of the transposed
// layers in reverse order and without biases.
//
// Columns of the last layer alternate between the raw log-scale and the translation of a feature:
// a thread that holds two adjacent columns holds what the affine map needs.
//
// Within a chunk:
//
//   float32:  one row of 64 columns per input; quad l holds the columns l, l + 16, l + 32, l + 48.
//   tf32:     per 8 inputs, four 16 x 8 tiles, each in the order of the fragments of mma.m16n8k8.
//   bfloat16: per 16 inputs, four 16 x 16 tiles, in that of mma.m16n8k16.
#pragma once

#include <cstdint>
#include <vector>

#include "scalar_maths.h"

namespace dds {

enum class Precision { float32, tf32, bfloat16 };
enum class Pass { forward, backward, update };

constexpr int kPanelColumns = 64;
constexpr int kPanelPairs = kPanelColumns / 2;
constexpr int kWeightBytes = 16384;
constexpr int kChunkBytes = kWeightBytes + kPanelColumns * 4;
constexpr int kBankThreads = 256;
constexpr int kBankWarps = kBankThreads / 32;
constexpr int kRowTile = 8;
constexpr int kMaxRowTiles = 8;
constexpr int kMaxLayers = 10;
constexpr int kMaxStages = 12;
constexpr int kMaxFeatures = 2048;
constexpr int kMaxWidth = 512;

DDS_HOST_DEVICE constexpr int chunk_inputs(Precision precision) {
  return precision == Precision::bfloat16 ? 128 : 64;
}

DDS_HOST_DEVICE constexpr int chunk_weights(Precision precision) {
  return chunk_inputs(precision) * kPanelColumns;
}

struct ChunkPlace {
  int column;  // within the panel
  int input;   // within the chunk
};

// Which weight the i-th of a chunk is.
DDS_HOST_DEVICE ChunkPlace chunk_place(Precision precision, int i) {
  if (precision == Precision::float32) return {(i & 63) / 4 + 16 * (i & 3), i / 64};
  // Within a register of a fragment, bfloat16 numbers come in pairs.
  const int per_register = precision == Precision::bfloat16 ? 2 : 1;
  const int within = i % per_register;
  const int part = i / per_register % 4;
  const int lane = i / per_register / 4 % 32;
  const int tile = i / per_register / 128;
  const int group = lane / 4, member = lane % 4;
  const int column = 16 * (tile % 4) + group + 8 * (part & 1);
  const int input = per_register * (8 * (tile / 4) + member + 4 * (part >> 1)) + within;
  return {column, input};
}

// One product of a step as a CTA computes it.
struct BankLayer {
  int32_t n_in;      // inputs, a multiple of 16
  int32_t n_panels;  // of this CTA; its panels follow those of the CTAs before it
};

// A bank as it is packed.
struct BankShape {
  Precision precision;
  int32_t n_passing;
  int32_t n_moving;
  int32_t n_steps;
  int32_t n_layers;
  int32_t n_ctas;                  // that share a flow
  int32_t widths[kMaxLayers];      // of the hidden layers
  BankLayer forward[kMaxLayers];   // first to last
  BankLayer backward[kMaxLayers];  // last to first, transposed
  int32_t forward_chunks;          // of one CTA and step
  int32_t backward_chunks;

  DDS_HOST_DEVICE int32_t n_features() const { return n_passing + n_moving; }
};

// Throws std::invalid_argument if the kernels do not serve such a bank.
BankShape make_bank_shape(Precision precision, int64_t n_features, int64_t n_passing,
                          const std::vector<int64_t>& hidden_widths, int64_t n_steps,
                          int64_t n_ctas);

// For one group and step: where each weight of [CTA][chunk][weight] stands among the weights of all
// layers ((out, in), one layer after the other), and each bias of [CTA][chunk][column] among their
// biases; -1 for a zero.
void bank_sources(const BankShape& shape, bool transposed, int64_t* weights, int64_t* biases);

// What a step needs besides weights: the place of each feature in the state (permutations move no
// data), alpha and beta. In the order of a pass, then once more the places of the result.
struct StepScales {
  float alpha;
  float beta;
  float unused[2];
};

DDS_HOST_DEVICE constexpr int64_t record_bytes(int64_t n_features) {
  return (n_features * 2 + 15) / 16 * 16 + static_cast<int64_t>(sizeof(StepScales));
}

// One launch: how many rows a block takes, and its shared memory.
//
// Everything that rows pass through is stored feature by feature, `row_stride` rows each: 8 rows
// per tile, and for the tensor cores an odd number of tiles, so that the four features and eight
// rows of a fragment fall into different banks. Operands hold a word per input, or in bfloat16 per
// two.
struct BankPlan {
  BankShape shape;
  int32_t n_rows;        // per flow
  int32_t n_row_blocks;  // blocks of a flow, side by side
  int32_t row_tiles;     // of a block
  int32_t stash_tiles;   // of a flow
  int32_t row_stride;
  int32_t partial_stride;  // of the rows of a product's partial sums
  int32_t n_splits;        // of a product's inputs among the warps
  int32_t n_stages;        // chunks in flight
  // Offsets in shared memory, in bytes.
  int32_t barriers;
  int32_t state;
  int32_t operands[2];
  int32_t partials;
  int32_t records[2];
  int32_t row_values;
  int32_t stages;
  int32_t shared_bytes;
  int32_t stash_blocks;              // of a step
  int32_t hidden_block[kMaxLayers];  // first stash block of a hidden layer
  int32_t affine_block;              // and of the affine map
};

// With the most rows per block that fit `shared_memory` bytes. Throws std::invalid_argument if not
// even one tile of rows fits.
BankPlan make_bank_plan(const BankShape& shape, Pass pass, int64_t n_rows, int64_t shared_memory);

// What a forward pass keeps for the gradient, in bytes per group and step. Blocks of 4 pairs of
// values and 8 rows, one number of 8 rows after the other:
// pairs of adjacent hidden units, and of each moving feature the bounded log-scale and the feature
// before an encoding or after a decoding.
int64_t bank_stash_bytes(const BankPlan& plan);

}  // namespace dds
