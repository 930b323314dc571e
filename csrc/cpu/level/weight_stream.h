// The weights of a pass in the order in which it reads them, fetched ahead of it.
#pragma once

#include "block_state.h"
#include "cpu/flow.h"
#include "cpu/flow_block.h"
#include "fetcher.h"
#include "product.h"

namespace dds::DDS_LEVEL {

// A step's products are numbered in the order of a forward pass: the coupling's layers and, behind
// them in decode and before them in encode, a dense mixing.
template <bool kDecode>
class WeightStream {
 public:
  WeightStream(const Flow& flow, const FlowBlock& block)
      : flow_(flow), block_(block), n_products_(flow.layout.n_layers + has_mixing()) {}

  // Sets the pace of fetching to that at which a pass needs weights.
  template <class AnyProduct>
  void start(const AnyProduct& product, bool backward) {
    fetcher_ = Fetcher();
    backward_ = backward;
    fetching_ = block_.n_rows >= kMinFetchRows;
    queued_ = backward ? flow_.n_steps * n_products_ - 1 : 0;
    int64_t bytes = 0, n_turns = 0;
    for (int64_t index = 0; index < n_products_; ++index) {
      const Part p = part(0, index);
      const int64_t n_units = p.range.end - p.range.begin;
      bytes += p.layer->n_panels * p.layer->panel_bytes / block_.team_size;
      n_turns +=
          n_units * (backward ? product.backward_turns(*p.layer) : product.forward_turns(*p.layer));
    }
    if (fetching_ && n_turns > 0) fetcher_.set_pace(bytes, n_turns);
  }

  // This thread's share of a product of step i that is about to be made: of a layer, or of the
  // mixing.
  Part layer(int64_t i, int64_t layer) { return next(i, layer + (!kDecode && has_mixing())); }
  Part mixing(int64_t i) { return next(i, mixing_index()); }

  Fetcher& fetcher() { return fetcher_; }

 private:
  bool has_mixing() const { return flow_.steps[0].mixing != nullptr; }
  int64_t mixing_index() const { return kDecode ? flow_.layout.n_layers : 0; }

  Part part(int64_t i, int64_t index) const {
    const FlowStep& step = flow_.steps[i];
    const FlowLayout& layout = flow_.layout;
    Part result;
    if (step.mixing && index == mixing_index()) {
      result.layer = &layout.mixing;
      result.weights = step.mixing + block_.group * layout.mixing_bytes;
    } else {
      result.layer = &layout.layers[index - (!kDecode && has_mixing())];
      result.weights = step.coupling + block_.group * layout.coupling_bytes + result.layer->offset;
    }
    const int64_t n_units =
        backward_ ? ceil_div(result.layer->n_in, kPanel) : result.layer->n_panels;
    result.range = share(block_, n_units);
    return result;
  }

  // With fewer rows there is nothing to compute while weights come: the hardware's own prefetching
  // did better on a Xeon with AMX, but worse on an EPYC (Zen 4) without.
#ifdef DDS_AMX
  static constexpr int64_t kMinFetchRows = 4;
#else
  static constexpr int64_t kMinFetchRows = 1;
#endif

  // Keeps the fetcher up to two products ahead of the one that starts.
  Part next(int64_t i, int64_t index) {
    if (fetching_) fetch_ahead(i * n_products_ + index);
    return part(i, index);
  }

  void fetch_ahead(int64_t now) {
    const int64_t direction = backward_ ? -1 : 1;
    while (!fetcher_.idle() && (now - queued_) * direction >= (fetcher_.has_room() ? 0 : 1)) {
      fetcher_.skip();
    }
    if ((now - queued_) * direction > 0) queued_ = now;
    while (fetcher_.has_room() && (queued_ - now) * direction < 2) {
      queued_ += direction;
      if (queued_ < 0 || queued_ >= flow_.n_steps * n_products_) return;
      const Part p = part(queued_ / n_products_, queued_ % n_products_);
      const Range range = backward_ ? Range{0, p.layer->n_panels} : p.range;
      fetcher_.queue(p.panel(range.begin), p.panel(range.end));
    }
  }

  const Flow& flow_;
  const FlowBlock& block_;
  const int64_t n_products_;  // of a step
  Fetcher fetcher_;
  bool backward_ = false;
  bool fetching_ = false;
  int64_t queued_ = 0;  // the last product that the fetcher was given
};

}  // namespace dds::DDS_LEVEL
