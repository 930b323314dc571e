// A block of rows that a team of threads takes through a flow. Plain data: it is shared by files
// that are compiled with different flags.
#pragma once

#include <cstdint>

#include "flow.h"

namespace dds {

constexpr int64_t kSumBytes = 2 * 64;  // a compensated sum of the widest vectors

// Workspace of one team; the last two are a thread's own.
struct FlowScratch {
  float* states[2];   // rows x state_stride
  char* operands[2];  // rows x operand_bytes
  float* row_values;  // rows
  char* sums;         // team_size x rows x kSumBytes
  int64_t state_stride;
  int64_t operand_bytes;
  int64_t sums_bytes;  // of one thread
  float* row_buffer;   // state_width
  char* workspace;     // a transposed panel
};

struct BlockRows {
  int64_t group;
  int64_t row;  // the first, among those of the group that pass
  int64_t n_rows;
  int64_t group_rows;     // rows of the group that pass
  int64_t group_first;    // rows of earlier groups that pass
  int64_t tensor_rows;    // rows per group in the tensors
  const int64_t* listed;  // where the rows stand in the tensors; null: one behind the other

  // Where a row of the block stands in the tensors.
  int64_t at(int64_t i) const { return listed ? listed[i] : group * tensor_rows + row + i; }
};

struct FlowBlock : BlockRows {
  char* own_stash;  // of the block alone, null: the batch's is used
  int64_t team_size;
  int64_t rank;  // of this thread within the team
  void (*barrier)(void*);
  void* team;
  FlowScratch scratch;
};

}  // namespace dds
