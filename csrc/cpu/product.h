// The product of some rows with packed weights, by format: what the flow's passes are built from.
//
//   Product<format> product(rows);
//   product.forward(a, stride, part, next, workspace, epilogue);
//   product.backward(a, stride, part, next, workspace, epilogue);
//
// `a` holds the rows as operands of the format, `stride` elements apart. `forward` makes the
// outputs of the part's layer, bias included, panel by panel; `backward` multiplies with the
// transpose: `a` is then in the order of the panels' columns, and the layer's inputs are made in
// blocks of kPanel. Each calls epilogue(row, panel or block, values) with kPanel values; those
// behind the last input are zeros. `next` is what the thread multiplies with afterwards. Rows do
// not influence one another, nor does their number the result. The workspace has room for a
// transposed panel.
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

// The weights of one product: a layer of a group, and which panels (in a backward product: which
// blocks of inputs) this thread takes.
struct Part {
  const PackedLayer* layer;
  const char* weights;  // of the layer; null: there is none
  Range range;

  const char* panel(int64_t p) const { return weights + p * layer->panel_bytes; }
};

// Brings weights into the second-level cache, a little at each turn: the memory is busy while the
// thread computes.
class Fetcher {
 public:
  // `n_chunks` pieces of `bytes`, `stride` bytes apart, in the course of `n_turns`.
  Fetcher(const char* chunks, int64_t bytes, int64_t stride, int64_t n_chunks, int64_t n_turns)
      : at_(chunks),
        lines_(ceil_div(bytes, kLine)),
        stride_(stride),
        left_(chunks ? lines_ * n_chunks : 0),
        per_turn_(ceil_div(left_, n_turns)) {}

  inline void turn() {
    const int64_t count = smaller(per_turn_, left_);
    left_ -= count;
    for (int64_t i = 0; i < count; ++i) {
      __builtin_prefetch(at_ + line_ * kLine, 0, 2);
      if (++line_ == lines_) {
        line_ = 0;
        at_ += stride_;
      }
    }
  }

 private:
  static constexpr int64_t kLine = 64;

  const char* at_;
  int64_t lines_;
  int64_t stride_;
  int64_t left_;
  int64_t per_turn_;
  int64_t line_ = 0;
};

// With fewer rows there is nothing to compute meanwhile: the hardware's own prefetching does
// better.
constexpr int64_t kMinFetchRows = 4;

// For the panel that is read after panel p.
static inline Fetcher fetch_panel_after(int64_t p, const Part& part, const Part& next,
                                        int64_t n_rows, int64_t n_turns) {
  const bool same = p + 1 < part.range.end;
  const Part& source = same ? part : next;
  if (!source.weights || n_rows < kMinFetchRows) return Fetcher(nullptr, 0, 0, 0, 1);
  return Fetcher(source.panel(same ? p + 1 : source.range.begin), source.layer->panel_bytes, 0, 1,
                 n_turns);
}

// For the block of inputs that is read after block b: a piece of each panel.
static inline Fetcher fetch_block_after(int64_t b, const Part& part, const Part& next,
                                        int64_t n_turns) {
  const bool same = b + 1 < part.range.end;
  const Part& source = same ? part : next;
  if (!source.weights) return Fetcher(nullptr, 0, 0, 0, 1);
  const PackedLayer& layer = *source.layer;
  const int64_t first = (same ? b + 1 : source.range.begin) * kPanel;
  return Fetcher(source.weights + kBiasBytes + first * layer.input_bytes,
                 smaller(kPanel, layer.n_in - first) * layer.input_bytes, layer.panel_bytes,
                 layer.n_panels, n_turns);
}

template <Format kFormat>
struct Product;

}  // namespace dds::DDS_LEVEL
