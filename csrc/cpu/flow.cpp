#include "flow.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#ifdef DDS_X86_KERNELS
#include <immintrin.h>
#endif

#include "flow_block.h"
#include "levels.h"
#include "threads.h"

namespace dds {
namespace {

// Rows that a block takes through a flow: enough to use each weight often, few enough to stay in
// the second-level cache.
constexpr int64_t kScratchGoal = 6 << 20;  // bytes of states and operands
constexpr int64_t kMinBlockRows = 96;
// Splitting a group's rows makes another team read its weights too: not for fewer rows than this.
constexpr int64_t kMinSplitRows = 96;
// A transposed tile may be read behind the last row.
constexpr int64_t kSpareRows = 64;
constexpr int64_t kAlignment = 64;

// The widest operand of any product, in elements of one plane.
int64_t widest(const FlowLayout& layout) {
  int64_t width = layout.state_width;
  for (int64_t i = 0; i < layout.n_layers; ++i) {
    width = std::max(width, layout.layers[i].n_panels * kPanel);
  }
  return width;
}

// An odd multiple of a cache line: rows a power of two apart would share few cache sets.
int64_t spread(int64_t bytes) { return round_up(bytes, 2 * kAlignment) + kAlignment; }

int64_t state_bytes(const FlowLayout& layout) { return spread(layout.state_width * 4); }

int64_t operand_bytes(const FlowLayout& layout) {
  const int64_t element = layout.format == Format::bfloat16 ? 2 : 4;
  // Each plane by itself is a multiple of the vectors' size.
  const int64_t row = std::max(widest(layout) * element, layout.state_width * 4);
  return round_up(row, 4 * kAlignment) + 2 * kAlignment;
}

int64_t scratch_row_bytes(const FlowLayout& layout) {
  return 2 * (state_bytes(layout) + operand_bytes(layout));
}

int64_t workspace_bytes(const FlowLayout& layout) {
  int64_t n_panels = 0;
  for (int64_t i = 0; i < layout.n_layers; ++i) {
    n_panels = std::max(n_panels, layout.layers[i].n_panels);
  }
  const int64_t panel = kPanel * kPanel * 2;
  return kBiasBytes + std::max(n_panels * panel * planes(layout.format),
                               layout.mixing.n_panels * panel * planes(layout.mixing_format));
}

int64_t rows_of(const Batch& batch, int64_t group) {
  return batch.offsets ? batch.offsets[group + 1] - batch.offsets[group] : batch.n_rows;
}

int64_t most_rows(const Batch& batch) {
  int64_t most = 0;
  for (int64_t g = 0; g < batch.n_groups; ++g) most = std::max(most, rows_of(batch, g));
  return most;
}

// How a batch is cut into blocks and these are given to teams of threads. Results do not depend on
// it: every output element is summed in the same order whatever the block.
struct Partition {
  int64_t block_rows;  // at most
  int64_t n_blocks;    // of all groups
  int n_teams;
  int team_size;
};

int64_t blocks_of(const Batch& batch, int64_t group, int64_t block_rows) {
  return ceil_div(rows_of(batch, group), block_rows);
}

// Of a batch that is not empty.
Partition partition(const FlowLayout& layout, const Batch& batch, int n_threads) {
  const int64_t n_rows = most_rows(batch);
  const int64_t most = std::max(kMinBlockRows, kScratchGoal / scratch_row_bytes(layout));
  int64_t per_group = ceil_div(n_rows, most);
  // Whole rounds of blocks for all threads, as far as the blocks stay large.
  const int64_t rounds = ceil_div(per_group * batch.n_groups, n_threads);
  const int64_t balanced = ceil_div(rounds * n_threads, batch.n_groups);
  if (balanced > per_group && n_rows / balanced >= kMinSplitRows) per_group = balanced;
  Partition result;
  result.block_rows = ceil_div(n_rows, per_group);
  result.n_blocks = 0;
  for (int64_t g = 0; g < batch.n_groups; ++g) {
    result.n_blocks += blocks_of(batch, g, result.block_rows);
  }
  result.n_teams = static_cast<int>(std::min<int64_t>(n_threads, result.n_blocks));
  result.team_size = n_threads / result.n_teams;
  return result;
}

// The blocks of a batch, large ones first: the threads then end together.
std::vector<BlockRows> blocks(const Batch& batch, const Partition& cut) {
  std::vector<BlockRows> result;
  int64_t first = 0;
  for (int64_t g = 0; g < batch.n_groups; ++g) {
    BlockRows block = {.group = g,
                       .group_rows = rows_of(batch, g),
                       .group_first = first,
                       .tensor_rows = batch.n_rows};
    first += block.group_rows;
    const int64_t n = blocks_of(batch, g, cut.block_rows);
    for (int64_t i = 0; i < n; ++i) {
      block.row = block.group_rows * i / n;
      block.n_rows = block.group_rows * (i + 1) / n - block.row;
      block.listed = batch.listed ? batch.listed + batch.offsets[g] + block.row : nullptr;
      result.push_back(block);
    }
  }
  std::stable_sort(result.begin(), result.end(),
                   [](const BlockRows& a, const BlockRows& b) { return a.n_rows > b.n_rows; });
  return result;
}

struct TeamScratch {
  int64_t states;    // bytes of one of two
  int64_t operands;  // likewise
  int64_t row_values;
  int64_t sums;  // of one thread
  int64_t row_buffer;
  int64_t workspace;
  int64_t own_stash;

  int64_t total(int team_size) const {
    return 2 * (states + operands) + row_values + own_stash +
           team_size * (sums + row_buffer + workspace);
  }
};

TeamScratch team_scratch(const Flow& flow, const Partition& partition, bool own_stash) {
  const FlowLayout& layout = flow.layout;
  const int64_t rows = partition.block_rows + kSpareRows;
  TeamScratch result;
  result.states = rows * state_bytes(layout);
  result.operands = rows * operand_bytes(layout);
  result.row_values = round_up(rows * 4, kAlignment);
  result.sums = rows * kSumBytes;
  result.row_buffer = state_bytes(layout);
  result.workspace = round_up(workspace_bytes(layout), kAlignment);
  result.own_stash = own_stash ? partition.block_rows * stash_row_bytes(layout, flow.n_steps) : 0;
  return result;
}

// Threads that meet at the end of each product.
class Team {
 public:
  void wait() {
    const int phase = phase_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size) {
      arrived_.store(0, std::memory_order_relaxed);
      phase_.store(phase + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; phase_.load(std::memory_order_acquire) == phase; ++spins) {
      if (spins < kSpins) {
        pause();
      } else {
        std::this_thread::yield();
      }
    }
  }

  std::atomic<int> size{1};

 private:
  static constexpr int kSpins = 1 << 12;

  static void pause() {
#ifdef DDS_X86_KERNELS
    _mm_pause();
#endif
  }

  alignas(kAlignment) std::atomic<int> arrived_{0};
  alignas(kAlignment) std::atomic<int> phase_{0};
};

template <class Tensors>
void for_each_block(const Flow& flow, const Batch& batch, const Tensors& tensors, bool own_stash,
                    Buffer& scratch, int n_threads,
                    void (*kernel)(const Flow&, const FlowBlock&, const Tensors&)) {
  if (most_rows(batch) == 0) return;
  const Partition cut = partition(flow.layout, batch, n_threads);
  const TeamScratch sizes = team_scratch(flow, cut, own_stash);
  const std::vector<BlockRows> items = blocks(batch, cut);
  const auto n_items = static_cast<int64_t>(items.size());
  std::vector<Team> teams(cut.n_teams);
  std::atomic<int64_t> next{0};
  char* const memory = scratch.at_least(cut.n_teams * sizes.total(cut.team_size));

#pragma omp parallel num_threads(cut.n_teams* cut.team_size)
  {
    // The runtime may give fewer threads than were asked for.
    const int count = thread_count(), index = thread_index();
    const int n_teams = std::min(cut.n_teams, count);
    const int team_size = count / n_teams;
    const int team = index / team_size, rank = index % team_size;
    if (team < n_teams) {
      teams[team].size = team_size;
      FlowBlock block = {};
      block.team_size = team_size;
      block.rank = rank;
      block.team = &teams[team];
      block.barrier = [](void* t) { static_cast<Team*>(t)->wait(); };
      char* at = memory + team * sizes.total(cut.team_size);
      const auto take = [&at](int64_t bytes) {
        char* taken = at;
        at += bytes;
        return taken;
      };
      for (float*& state : block.scratch.states) {
        state = reinterpret_cast<float*>(take(sizes.states));
      }
      for (char*& operand : block.scratch.operands) operand = take(sizes.operands);
      block.scratch.row_values = reinterpret_cast<float*>(take(sizes.row_values));
      block.own_stash = own_stash ? take(sizes.own_stash) : nullptr;
      block.scratch.sums = take(team_size * sizes.sums);
      block.scratch.state_stride = state_bytes(flow.layout) / 4;
      block.scratch.operand_bytes = operand_bytes(flow.layout);
      block.scratch.sums_bytes = sizes.sums;
      at += rank * (sizes.row_buffer + sizes.workspace);
      block.scratch.row_buffer = reinterpret_cast<float*>(take(sizes.row_buffer));
      block.scratch.workspace = take(sizes.workspace);

      // A lone thread takes the next item that is left; a team its share, all members the same.
      for (int64_t turn = team;; turn += n_teams) {
        const int64_t item = team_size == 1 ? next.fetch_add(1) : turn;
        if (item >= n_items) break;
        static_cast<BlockRows&>(block) = items[item];
        kernel(flow, block, tensors);
        if (team_size > 1) teams[team].wait();
      }
    }
  }
}

const FlowKernels& kernels_of(const Flow& flow) {
  return active_kernels().flow[static_cast<int>(flow.layout.format)];
}

}  // namespace

int64_t stash_row_bytes(const FlowLayout& layout, int64_t n_steps) {
  const bool compact = layout.format == Format::bfloat16;
  int64_t bytes = 2 * layout.layers[layout.n_layers - 1].n_panels * kHalfPanel * (compact ? 2 : 4);
  for (int64_t i = 0; i + 1 < layout.n_layers; ++i) {
    bytes += layout.layers[i].n_panels * kPanel * (compact ? 2 : 4);
  }
  return n_steps * bytes;
}

int64_t scratch_bytes(const Flow& flow, const Batch& batch, int n_threads) {
  if (most_rows(batch) == 0) return 0;
  const Partition cut = partition(flow.layout, batch, n_threads);
  return cut.n_teams * team_scratch(flow, cut, false).total(cut.team_size);
}

void flow_forward(const Flow& flow, const Batch& batch, const ForwardTensors& tensors,
                  Buffer& scratch, int n_threads) {
  for_each_block(flow, batch, tensors, false, scratch, n_threads, kernels_of(flow).forward);
}

void flow_backward(const Flow& flow, const Batch& batch, const BackwardTensors& tensors,
                   Buffer& scratch, int n_threads) {
  for_each_block(flow, batch, tensors, false, scratch, n_threads, kernels_of(flow).backward);
}

void flow_decode(const Flow& flow, const Batch& batch, const CodeTensors& tensors, Buffer& scratch,
                 int n_threads) {
  for_each_block(flow, batch, tensors, false, scratch, n_threads, kernels_of(flow).decode);
}

void flow_update(const Flow& flow, const Batch& batch, const CodeTensors& tensors, Buffer& scratch,
                 int n_threads) {
  const bool own_stash = tensors.stash == nullptr;
  for_each_block(flow, batch, tensors, own_stash, scratch, n_threads, kernels_of(flow).update);
}

}  // namespace dds
