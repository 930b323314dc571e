// A block of rows of one flow, as a thread of a CTA sees it.
//
// The state (features x rows) lies in the shared memory of every CTA of the cluster. A thread holds
// pairs: two adjacent columns (or features) of the row `lane % 8` of each tile of rows. Pairs of a
// warp are `lane / 8` behind each other.
#pragma once

#include "bank_arguments.h"
#include "machine.h"

namespace dds {

DDS_DEVICE int min_of(int a, int b) { return a < b ? a : b; }

template <class Machine, Precision kPrecision>
struct BankBlock {
  DDS_DEVICE BankBlock(Machine& machine, const BankArguments& arguments)
      : machine(machine),
        arguments(arguments),
        plan(arguments.plan),
        shape(arguments.plan.shape),
        thread(machine.thread()),
        warp(machine.thread() / 32),
        lane(machine.thread() % 32),
        rank(machine.rank()),
        peer(arguments.plan.shape.n_ctas > 1 ? machine.peer(1 - machine.rank()) : nullptr),
        decode(arguments.direction == Direction::decode),
        group(arguments.groups ? arguments.groups[machine.block()] : machine.block()),
        first_tile(machine.row_block() * arguments.plan.row_tiles),
        n_tiles(min_of(arguments.plan.row_tiles, arguments.plan.stash_tiles - first_tile)) {}

  static constexpr bool kBfloat16 = kPrecision == Precision::bfloat16;

  // ---- where things are ---------------------------------------------------------------------

  // Of a feature's place.
  DDS_DEVICE float& state(int place, int row) const {
    return reinterpret_cast<float*>(machine.shared() + plan.state)[place * plan.row_stride + row];
  }
  DDS_DEVICE float* partials() const {
    return reinterpret_cast<float*>(machine.shared() + plan.partials);
  }
  DDS_DEVICE float* row_values() const {
    return reinterpret_cast<float*>(machine.shared() + plan.row_values);
  }
  DDS_DEVICE int operand_offset(int i) const { return i & 1 ? plan.operands[1] : plan.operands[0]; }
  DDS_DEVICE const uint32_t* operand(int i) const {
    return reinterpret_cast<const uint32_t*>(machine.shared() + operand_offset(i));
  }

  // Rows of this block that exist; the others are zeros.
  DDS_DEVICE int n_rows() const {
    return min_of(plan.n_rows - first_tile * kRowTile, n_tiles * kRowTile);
  }
  DDS_DEVICE int64_t at_row(int row) const {
    return static_cast<int64_t>(machine.block()) * plan.n_rows + first_tile * kRowTile + row;
  }
  DDS_DEVICE int64_t element(int row, int feature) const {
    return at_row(row) * shape.n_features() + feature;
  }

  // ---- pairs --------------------------------------------------------------------------------

  DDS_DEVICE int row_of(int tile) const { return tile * kRowTile + lane % kRowTile; }
  DDS_DEVICE int member() const { return lane / kRowTile; }

  // Unrolled: `j` may index registers.
  template <class Function>
  DDS_DEVICE void for_row_tiles(const Function& function) const {
    DDS_UNROLL
    for (int j = 0; j < kMaxRowTiles; ++j) {
      if (j < n_tiles) function(row_of(j), j);
    }
  }

  template <class Function>
  DDS_DEVICE void for_rows(const Function& function) const {
    for (int j = 0; j < n_tiles; ++j) function(row_of(j), j);
  }

  // The features that this CTA reads from or writes to memory, for the rows that exist.
  template <class Function>
  DDS_DEVICE void for_own_features(const Function& function) const {
    const int n_pairs = (shape.n_features() + 1) / 2;
    for (int pair = (rank * kBankWarps + warp) * 4 + member(); pair < n_pairs;
         pair += shape.n_ctas * kBankWarps * 4) {
      for_row_tiles([&](int row, int j) {
        if (row >= n_rows()) return;
        function(2 * pair, row, j);
        if (2 * pair + 1 < shape.n_features()) function(2 * pair + 1, row, j);
      });
    }
  }

  // All features, in every CTA; rows that do not exist are zeros. The CTAs must meet before one
  // writes to the others' state.
  template <class Value>
  DDS_DEVICE void read_state(const uint16_t* places, const Value& value) const {
    for (int feature = 2 * (warp * 4 + member()); feature < shape.n_features();
         feature += 2 * kBankWarps * 4) {
      for (int i = feature; i < feature + 2 && i < shape.n_features(); ++i) {
        const int place = places ? places[i] : i;
        for_rows([&](int row, int) { state(place, row) = row < n_rows() ? value(row, i) : 0.0f; });
      }
    }
  }

  // value(row) for every row of the block; rows that do not exist are zeros.
  template <class Value>
  DDS_DEVICE void read_row_values(const Value& value) const {
    for (int row = thread; row < kRowTile * kMaxRowTiles; row += kBankThreads) {
      row_values()[row] = row < n_rows() ? value(row) : 0.0f;
    }
    machine.sync();
  }

  // ---- writing to all CTAs of the cluster ---------------------------------------------------

  template <class Write>
  DDS_DEVICE void in_every_cta(const Write& write) const {
    write(machine.shared());
    if (peer) write(peer);
  }

  DDS_DEVICE void put_state(int place, int row, float value) const {
    in_every_cta([&](char* shared) {
      reinterpret_cast<float*>(shared + plan.state)[place * plan.row_stride + row] = value;
    });
  }

  // The inputs 2 pair and 2 pair + 1 of a product, of one row.
  DDS_DEVICE void store_operand(char* shared, int which, int pair, int row, float first,
                                float second) const {
    uint32_t* words = reinterpret_cast<uint32_t*>(shared + operand_offset(which)) + row;
    if constexpr (kBfloat16) {
      words[pair * plan.row_stride] = scalar::bfloat16_pair(first, second);
    } else {
      const bool round = kPrecision == Precision::tf32;
      words[2 * pair * plan.row_stride] =
          scalar::bits(round ? scalar::round_to_tf32(first) : first);
      words[(2 * pair + 1) * plan.row_stride] =
          scalar::bits(round ? scalar::round_to_tf32(second) : second);
    }
  }

  DDS_DEVICE void put_operand(int which, int pair, int row, float first, float second) const {
    in_every_cta([&](char* shared) { store_operand(shared, which, pair, row, first, second); });
  }

  // ---- sums over features -------------------------------------------------------------------

  // Thread `row` gets the sum of what all threads of all CTAs hold for that row.
  DDS_DEVICE float row_total(const float (&values)[kMaxRowTiles]) const {
    constexpr int kRows = kRowTile * kMaxRowTiles;
    float* sums = partials();
    for_row_tiles([&](int row, int j) {
      float value = values[j];
      value += machine.shuffle_xor(value, 8);
      value += machine.shuffle_xor(value, 16);
      if (member() == 0) sums[warp * kRows + row] = value;
    });
    machine.sync();
    const int n = n_tiles * kRowTile;
    if (thread < n) {
      float value = 0.0f;
      for (int w = 0; w < kBankWarps; ++w) value += sums[w * kRows + thread];
      in_every_cta([&](char* shared) {
        reinterpret_cast<float*>(shared + plan.partials)[(kBankWarps + rank) * kRows + thread] =
            value;
      });
    }
    machine.meet();
    float total = 0.0f;
    if (thread < n) {
      for (int cta = 0; cta < shape.n_ctas; ++cta) {
        total += sums[(kBankWarps + cta) * kRows + thread];
      }
    }
    return total;
  }

  Machine& machine;
  const BankArguments& arguments;
  const BankPlan& plan;
  const BankShape& shape;
  const int thread, warp, lane, rank;
  char* const peer;  // shared memory of the other CTA of the cluster; null: there is none
  const bool decode;
  const int64_t group;
  const int first_tile, n_tiles;  // of rows
};

}  // namespace dds
