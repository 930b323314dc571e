// A block of rows that a team of threads takes through a flow. Plain data: it is shared by files
// that are compiled with different flags.
#pragma once

#include <cstdint>

#include "dds/flow.h"

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

struct FlowBlock {
  int64_t index;  // of the group within the batch
  int64_t group;  // the flow that the rows pass through
  int64_t row;    // first row within the group
  int64_t n_rows;
  int64_t group_rows;
  char* own_stash;  // of the block alone, null: the batch's is used
  int64_t team_size;
  int64_t rank;  // of this thread within the team
  void (*barrier)(void*);
  void* team;
  FlowScratch scratch;
};

}  // namespace dds
