// The product of some rows with packed weights, by format: what the flow's passes are built from.
//
//   Product<format> product(rows);
//   product.forward(a, stride, layer, packed, panels, workspace, epilogue);
//   product.backward(a, stride, layer, packed, blocks, workspace, epilogue);
//
// `a` holds the rows as operands of the format, `stride` elements apart. `forward` makes the layer's
// outputs, bias included, panel by panel; `backward` multiplies with the transpose: `a` is then in
// the order of the panels' columns, and the layer's inputs are made in blocks of kPanel. Each calls
// epilogue(row, panel or block, values) with kPanel values; those behind the last input are zeros.
// Rows do not influence one another, nor does their number the result. The workspace has room for
// a transposed panel: Product<format>::workspace_bytes(layer).
#pragma once

#include "dds/packed_weights.h"
#include "dds/simd.h"

namespace dds::DDS_LEVEL {

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Vectors of a register tile's sums.
constexpr int kAccumulators = DDS_VECTOR_BYTES == 64 ? 24 : 12;

// The largest power of two that is at most `n` and `limit`.
constexpr int power_of_two_below(int n, int limit) {
  int power = 1;
  while (2 * power <= n && 2 * power <= limit) power *= 2;
  return power;
}

struct Range {
  int64_t begin;
  int64_t end;
};

template <Format kFormat>
struct Product;

}  // namespace dds::DDS_LEVEL
