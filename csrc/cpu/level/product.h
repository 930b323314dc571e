// The product of some rows with packed weights, by format: what the flow's passes are built from.
//
//   Product<format> product(rows);
//   product.forward(a, stride, part, fetcher, workspace, epilogue);
//   product.backward(a, stride, part, fetcher, workspace, epilogue);
//
// `a` holds the rows as operands of the format, `stride` elements apart. `forward` makes the
// outputs of the part's layer, bias included, panel by panel; `backward` multiplies with the
// transpose: `a` is then in the order of the panels' columns, and the layer's inputs are made in
// blocks of kPanel. Each calls epilogue(row, panel or block, values) with kPanel values; those
// behind the last input are zeros. `next` is what the thread multiplies with afterwards. Rows do
// not influence one another, nor does their number the result. The workspace has room for a
// transposed panel.
#pragma once

#include "cpu/packed_weights.h"
#include "fetcher.h"
#include "simd.h"

namespace dds::DDS_LEVEL {

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

// The weights of one product: a layer of a group, and which panels (in a backward product: which
// blocks of inputs) this thread takes.
struct Part {
  const PackedLayer* layer;
  const char* weights;  // of the layer; null: there is none
  Range range;

  const char* panel(int64_t p) const { return weights + p * layer->panel_bytes; }
};

template <Format kFormat>
struct Product;

}  // namespace dds::DDS_LEVEL
