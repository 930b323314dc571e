#include "search.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "adam_corrections.h"

namespace dds {
namespace {

// Products over positive activations are taken where fewer than one in so many is positive: for
// each of these they take about four times as long as a dense float32 product takes for each of
// all. Split products are faster.
int64_t dense_share(Format products) { return products == Format::split ? 8 : 4; }

double sum(const std::vector<float>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

}  // namespace

Search::Search(const Flow& flow, const CodeSettings& settings, const CodeTensors& codes,
               const SearchTensors& t, int n_threads)
    : settings_(settings),
      tensors_(t),
      entries_(codes.entries),
      codes_(flow, settings, codes),
      residual_(unwritten(t.n_frames * t.n_features)),
      gradient_(unwritten(t.per_frame ? 0 : t.n_activations * t.n_features)),
      correlation_(unwritten(t.n_activations * t.n_frames)),
      likelihood_gradient_(unwritten(settings.n_rows)),
      first_moment_(correlation_.size()),
      second_moment_(correlation_.size()),
      sums_(unwritten(t.n_frames)),
      total_(unwritten(t.n_frames)),
      attributed_(unwritten(t.n_frames)),
      h_{.rows = t.n_activations,
         .frames = t.n_frames,
         .correlation = correlation_.data(),
         .log_likelihoods = codes.log_likelihoods,
         .per_frame = t.per_frame,
         .sums = sums_.data(),
         .total = total_.data(),
         .attributed = attributed_.data(),
         .penalty = static_cast<float>(t.penalty),
         .sparsity = static_cast<float>(t.sparsity),
         .activations = t.activations,
         .first_moment = first_moment_.data(),
         .second_moment = second_moment_.data(),
         .active = t.active},
      n_active_(std::count_if(h_.active, h_.active + h_.rows * h_.frames,
                              [](float a) { return a > 0; })) {
  keep(std::vector<char>(settings.n_rows, 1).data(), n_threads);
  evaluate(n_threads);
}

void Search::keep(const char* alive, int n_threads) {
  const int64_t n_rows = settings_.n_rows / settings_.n_groups;
  std::vector<int64_t> offsets = {0}, rows;
  for (int64_t i = 0; i < settings_.n_rows; ++i) {
    if (alive[i]) rows.push_back(i);
    if ((i + 1) % n_rows == 0) offsets.push_back(static_cast<int64_t>(rows.size()));
  }
  codes_.list(std::move(offsets), std::move(rows), n_threads);
}

double Search::step(double step_size, int64_t n, int n_threads) {
  step_codes(step_size, n, n_threads);
  step_activations(step_size, n, n_threads);
  return cost_;
}

void Search::multiply(const MatrixProduct& product, int n_threads) {
  matrix_product(tensors_.products, product, product_scratch_, n_threads);
}

bool Search::sparse() const {
  return h_.per_frame || n_active_ * dense_share(tensors_.products) < h_.rows * h_.frames;
}

Entries Search::entries() const {
  const int64_t n_features = tensors_.n_features;
  return h_.per_frame ? Entries::of_each_frame(entries_, h_.frames, n_features)
                      : Entries::shared(entries_, n_features);
}

void Search::evaluate(int n_threads) {
  const int64_t F = tensors_.n_features;
  if (sparse()) {
    sparse_residual(entries(), {h_.active, h_.rows, h_.frames}, tensors_.target, residual_.data(),
                    n_threads);
  } else {
    multiply(product_of(active().T(), dictionary(), residual_.data(), tensors_.target), n_threads);
  }
  norm_ = std::sqrt(sum_of_squares(residual_.data(), h_.frames, F, n_threads));
  sum_activations(h_, tensors_.epsilon, n_threads);
  cost_ = norm_ - tensors_.penalty * sum(attributed_) + tensors_.sparsity * sum(sums_);
}

void Search::step_codes(double step_size, int64_t n, int n_threads) {
  const int64_t F = tensors_.n_features;
  // With an entry per frame, the flow takes the residual and weighs it itself.
  if (!h_.per_frame && sparse()) {
    sparse_gradient({h_.active, h_.rows, h_.frames}, residual_.data(), F, gradient_.data(),
                    n_threads);
  } else if (!h_.per_frame) {
    multiply(product_of(active(), residual(), gradient_.data()), n_threads);
  }
  likelihood_gradient(h_, likelihood_gradient_.data(), n_threads);
  codes_.step({.entries = h_.per_frame ? residual_.data() : gradient_.data(),
               .row_weights = h_.per_frame ? h_.active : nullptr,
               .log_likelihoods = likelihood_gradient_.data(),
               .scale = inverse_norm()},
              step_size, n, n_threads);
  evaluate(n_threads);
}

void Search::step_activations(double step_size, int64_t n, int n_threads) {
  if (sparse()) {
    sparse_correlation(entries(), {h_.active, h_.rows, h_.frames}, residual_.data(),
                       correlation_.data(), n_threads);
  } else {
    multiply(product_of(dictionary(), residual().T(), correlation_.data()), n_threads);
  }
  h_.inverse_norm = inverse_norm();
  set_adam_corrections(step_size, n, h_);
  n_active_ = move_activations(h_, n_threads);
  evaluate(n_threads);
}

}  // namespace dds
