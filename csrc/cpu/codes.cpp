#include "codes.h"

#include <utility>

#include "adam_corrections.h"
#include "gather_rows.h"

namespace dds {

Codes::Codes(const Flow& flow, const CodeSettings& settings, const CodeTensors& tensors)
    : flow_(flow),
      settings_(settings),
      tensors_(tensors),
      first_moment_(settings.n_rows * (n_features() - tensors.n_fixed)),
      second_moment_(first_moment_.size()) {
  tensors_.first_moment = first_moment_.data();
  tensors_.second_moment = second_moment_.data();
}

Batch Codes::batch() const {
  return {.n_groups = settings_.n_groups,
          .n_rows = settings_.n_rows / settings_.n_groups,
          .offsets = offsets_.data(),
          .listed = listed_.data()};
}

void Codes::list(std::vector<int64_t> offsets, std::vector<int64_t> rows, int n_threads) {
  offsets_ = std::move(offsets);
  listed_ = std::move(rows);
  const auto n_bytes =
      static_cast<int64_t>(listed_.size()) * stash_row_bytes(flow_.layout, flow_.n_steps);
  const bool kept = n_bytes <= settings_.most_stash_bytes;
  tensors_.stash = kept ? stash_.at_least(n_bytes) : nullptr;
  flow_decode(flow_, batch(), tensors_, scratch_, n_threads);
}

void Codes::gather(const std::vector<int64_t>& kept) {
  const int64_t n_free = n_features() - tensors_.n_fixed;
  gather_rows(tensors_.codes, n_features(), kept);
  gather_rows(tensors_.first_moment, n_free, kept);
  gather_rows(tensors_.second_moment, n_free, kept);
}

void Codes::step(const CodeGradient& gradient, double step_size, int64_t n, int n_threads) {
  tensors_.gradient = gradient;
  set_adam_corrections(step_size, n, tensors_);
  flow_update(flow_, batch(), tensors_, scratch_, n_threads);
}

}  // namespace dds
