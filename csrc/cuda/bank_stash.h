// What a forward pass keeps for the gradient, see bank_stash_bytes.
#pragma once

#include "bank_block.h"

namespace dds {

template <class Block>
class BankStash {
 public:
  DDS_DEVICE explicit BankStash(const Block& block) : b_(block) {}

  // Of the pair block `block` of step i (in the order of the forward pass) and tile j.
  DDS_DEVICE void keep(int i, int block, int j, float first, float second) const {
    if (!memory()) return;
    if constexpr (Block::kBfloat16) {
      reinterpret_cast<uint32_t*>(memory())[index(i, block, j)] =
          scalar::bfloat16_pair(first, second);
    } else {
      reinterpret_cast<Float2*>(memory())[index(i, block, j)] = {first, second};
    }
  }

  DDS_DEVICE Float2 kept(int i, int block, int j) const {
    if constexpr (Block::kBfloat16) {
      const uint32_t word = reinterpret_cast<const uint32_t*>(memory())[index(i, block, j)];
      return {scalar::from_bfloat16(word & 0xffffu), scalar::from_bfloat16(word >> 16)};
    } else {
      return reinterpret_cast<const Float2*>(memory())[index(i, block, j)];
    }
  }

  // Moves this CTA's part of a step's stash towards the chip.
  DDS_DEVICE void prefetch(int i) const {
    const BankShape& shape = b_.shape;
    if (i < 0 || b_.thread >= shape.n_layers) return;
    const bool last = b_.thread == shape.n_layers - 1;
    const int n_blocks = shape.forward[b_.thread].n_panels * kBankWarps;
    const int first = (last ? b_.plan.affine_block : b_.plan.hidden_block[b_.thread]);
    const int64_t row_bytes = b_.plan.stash_tiles * 32 * (Block::kBfloat16 ? 4 : 8);
    b_.machine.prefetch(
        memory() + (step(i) * b_.plan.stash_blocks + first + b_.rank * n_blocks) * row_bytes,
        static_cast<uint32_t>(n_blocks * row_bytes));
  }

 private:
  DDS_DEVICE char* memory() const { return b_.arguments.stash; }

  DDS_DEVICE int64_t step(int i) const {
    return static_cast<int64_t>(b_.machine.block()) * b_.shape.n_steps + i;
  }

  DDS_DEVICE int64_t index(int i, int block, int j) const {
    const int64_t tiles = (step(i) * b_.plan.stash_blocks + block) * b_.plan.stash_tiles;
    return (tiles + b_.first_tile + j) * 32 + b_.lane;
  }

  const Block& b_;
};

}  // namespace dds
