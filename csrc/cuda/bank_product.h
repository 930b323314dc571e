// One panel of a product: 64 columns for all rows of the block, the inputs split among the warps.
#pragma once

#include "bank_layout.h"
#include "machine.h"

namespace dds {

// On the tensor cores. Each warp takes 16 columns and every second tile of inputs; weights are the
// fragments' first operand, so that few rows waste little.
template <class Machine, Precision kPrecision>
class Product {
 public:
  DDS_DEVICE Product(Machine& machine, const BankPlan& plan, int row_tiles)
      : machine_(machine),
        stride_(plan.row_stride),
        partial_stride_(plan.partial_stride),
        row_tiles_(row_tiles),
        warp_(machine.thread() / 32),
        lane_(machine.thread() % 32) {}

  // A chunk times `n_in` inputs, whose words begin at `operand`.
  DDS_DEVICE void add(const char* chunk, const uint32_t* operand, int n_in) {
    switch (row_tiles_) {
      case 1:
        return add_tiles<1>(chunk, operand, n_in);
      case 2:
        return add_tiles<2>(chunk, operand, n_in);
      case 3:
        return add_tiles<3>(chunk, operand, n_in);
      case 4:
        return add_tiles<4>(chunk, operand, n_in);
      case 5:
        return add_tiles<5>(chunk, operand, n_in);
      case 6:
        return add_tiles<6>(chunk, operand, n_in);
      case 7:
        return add_tiles<7>(chunk, operand, n_in);
      default:  // kMaxRowTiles
        return add_tiles<8>(chunk, operand, n_in);
    }
  }

  // This warp's share of the sums, as (split, column, row).
  DDS_DEVICE void write(float* partials) const {
    const int column = warp_ % 4 * 16 + lane_ / 4;
    float* to = partials + (warp_ / 4 * kPanelColumns + column) * partial_stride_ + lane_ % 4 * 2;
    DDS_UNROLL
    for (int j = 0; j < kMaxRowTiles; ++j) {
      if (j < row_tiles_) {
        *reinterpret_cast<Float2*>(to + j * kRowTile) = {sums_[j][0], sums_[j][1]};
        *reinterpret_cast<Float2*>(to + 8 * partial_stride_ + j * kRowTile) = {sums_[j][2],
                                                                               sums_[j][3]};
      }
    }
  }

 private:
  // Without branches in the loop.
  template <int kTiles>
  DDS_DEVICE void add_tiles(const char* chunk, const uint32_t* operand, int n_in) {
    constexpr int kTileInputs = kPrecision == Precision::bfloat16 ? 16 : 8;
    const Word4* tiles = reinterpret_cast<const Word4*>(chunk) + (warp_ % 4) * 32 + lane_;
    const uint32_t* words = operand + lane_ % 4 * stride_ + lane_ / 4;
    for (int tile = warp_ / 4; tile < n_in / kTileInputs; tile += 2) {
      const Word4 weights = tiles[tile * 4 * 32];
      const uint32_t* low = words + tile * 8 * stride_;
      const uint32_t* high = low + 4 * stride_;
      DDS_UNROLL
      for (int j = 0; j < kTiles; ++j) {
        machine_.template multiply<kPrecision>(sums_[j], weights, low[j * kRowTile],
                                               high[j * kRowTile]);
      }
    }
  }

  Machine& machine_;
  const int stride_, partial_stride_, row_tiles_, warp_, lane_;
  float sums_[kMaxRowTiles][4] = {};
};

// In float32. Each half-warp takes a tile of 8 rows and every n-th input; a thread four columns.
template <class Machine>
class Product<Machine, Precision::float32> {
 public:
  DDS_DEVICE Product(Machine& machine, const BankPlan& plan, int row_tiles)
      : stride_(plan.row_stride),
        partial_stride_(plan.partial_stride),
        n_splits_(plan.n_splits),
        member_(machine.thread() % 16),
        row_(machine.thread() / 16 % row_tiles * kRowTile),
        split_(machine.thread() / 16 / row_tiles) {}

  DDS_DEVICE void add(const char* chunk, const uint32_t* operand, int n_in) {
    if (split_ >= n_splits_) return;
    const Float4* weights = reinterpret_cast<const Float4*>(chunk) + member_;
    const float* inputs = reinterpret_cast<const float*>(operand) + row_;
    DDS_UNROLL_4
    for (int i = split_; i < n_in; i += n_splits_) {
      const Float4 w = weights[i * 16];
      const Float4* x = reinterpret_cast<const Float4*>(inputs + i * stride_);
      const Float4 low = x[0], high = x[1];
      add_column(sums_[0], w.x, low, high);
      add_column(sums_[1], w.y, low, high);
      add_column(sums_[2], w.z, low, high);
      add_column(sums_[3], w.w, low, high);
    }
  }

  DDS_DEVICE void write(float* partials) const {
    if (split_ >= n_splits_) return;
    DDS_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float* s = sums_[i];
      const int column = member_ + 16 * i;
      Float4* to = reinterpret_cast<Float4*>(
          partials + (split_ * kPanelColumns + column) * partial_stride_ + row_);
      to[0] = {s[0], s[1], s[2], s[3]};
      to[1] = {s[4], s[5], s[6], s[7]};
    }
  }

 private:
  DDS_DEVICE static void add_column(float (&sums)[kRowTile], float w, const Float4& low,
                                    const Float4& high) {
    sums[0] = fmaf(w, low.x, sums[0]);
    sums[1] = fmaf(w, low.y, sums[1]);
    sums[2] = fmaf(w, low.z, sums[2]);
    sums[3] = fmaf(w, low.w, sums[3]);
    sums[4] = fmaf(w, high.x, sums[4]);
    sums[5] = fmaf(w, high.y, sums[5]);
    sums[6] = fmaf(w, high.z, sums[6]);
    sums[7] = fmaf(w, high.w, sums[7]);
  }

  const int stride_, partial_stride_, n_splits_, member_, row_, split_;
  float sums_[4][kRowTile] = {};
};

}  // namespace dds
