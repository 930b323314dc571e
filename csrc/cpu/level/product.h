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
#include "simd.h"

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

// Brings the weights of the products to come into the second-level cache, a few lines at each turn:
// the memory is busy while the thread computes. It runs ahead evenly, also where a product needs
// weights faster than they come.
class Fetcher {
 public:
  // Lines per turn.
  void set_pace(int64_t bytes, int64_t n_turns) { pace_ = ceil_div(bytes, kLine * n_turns); }

  // Called when `bytes` of weights are about to be read: as much may be fetched beyond them.
  void reading(int64_t bytes) { credit_ += bytes / kLine; }

  bool has_room() const { return next_ == nullptr; }

  void queue(const char* begin, const char* end) {
    if (at_ == end_) {
      at_ = begin;
      end_ = end;
    } else {
      next_ = begin;
      next_end_ = end;
    }
  }

  // Leaves out what is being read by now.
  void skip() {
    at_ = next_;
    end_ = next_ ? next_end_ : nullptr;
    next_ = nullptr;
  }

  bool idle() const { return at_ == end_; }

  inline void turn() {
    const int64_t count = smaller(pace_, credit_);
    for (int64_t i = 0; i < count; ++i, at_ += kLine) {
      if (at_ >= end_) {
        if (!next_) {
          at_ = end_;
          return;
        }
        skip();
      }
      __builtin_prefetch(at_, 0, 2);
      --credit_;
    }
  }

 private:
  static constexpr int64_t kLine = 64;
  // Fetching further ahead than this helps less (measured on a Xeon with 2 MiB of cache per core).
  static constexpr int64_t kLead = 64 << 10;

  const char* at_ = nullptr;
  const char* end_ = nullptr;
  const char* next_ = nullptr;
  const char* next_end_ = nullptr;
  int64_t pace_ = 0;
  int64_t credit_ = kLead / kLine;
};

template <Format kFormat>
struct Product;

}  // namespace dds::DDS_LEVEL
