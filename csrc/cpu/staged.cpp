#include "staged.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "gather_rows.h"
#include "levels.h"
#include "objective.h"

namespace dds {
namespace {

constexpr float kTiny = 1e-9f;  // added to denominators

// Running mean over `half` frames on either side, the ends held.
void smooth(float* row, int64_t n_frames, int64_t half, std::vector<double>& sums) {
  // sums[t] is the sum of the frames before t, of a row that is longer by `half` at both ends.
  sums.resize(n_frames + 2 * half + 1);
  sums[0] = 0.0;
  for (int64_t t = 0; t < n_frames + 2 * half; ++t) {
    sums[t + 1] = sums[t] + row[std::clamp<int64_t>(t - half, 0, n_frames - 1)];
  }
  const double share = 1.0 / static_cast<double>(2 * half + 1);
  for (int64_t t = 0; t < n_frames; ++t) {
    row[t] = static_cast<float>((sums[t + 2 * half + 1] - sums[t]) * share);
  }
}

}  // namespace

FixedStage::FixedStage(const StagedSettings& settings, const StagedTensors& t)
    : settings_(settings),
      tensors_(t),
      norms_(unwritten(t.n_entries)),
      residual_(unwritten(t.n_frames * t.n_features)),
      sums_(unwritten(t.n_frames)),
      total_(unwritten(t.n_frames)),
      attributed_(unwritten(t.n_frames)),
      numerator_(unwritten(t.n_entries * t.n_frames)),
      weights_(unwritten(t.n_sources * t.n_frames)) {
  const int64_t n_gram = std::min(t.n_entries, 2 * t.n_features);
  gram_ = unwritten(n_gram * n_gram);
}

FixedStage::FixedStage(const StagedSettings& settings, const StagedTensors& tensors, int n_threads)
    : FixedStage(settings, tensors) {
  prepare(n_threads);
  evaluate(n_threads);
}

std::vector<double> FixedStage::steps(const std::vector<int64_t>& n_updates, bool reweighted,
                                      int n_threads) {
  std::vector<double> costs;
  for (const int64_t n : n_updates) {
    if (reweighted) {
      reweight();
    } else {
      std::fill(weights_.begin(), weights_.end(), static_cast<float>(settings_.fixed_sparsity));
    }
    update(n, true, n_threads);
    drop_dead(n_threads);
    evaluate(n_threads);
    costs.push_back(cost_);
    if (!std::isfinite(cost_)) break;
  }
  return costs;
}

void FixedStage::multiply(const MatrixProduct& product, int n_threads) {
  matrix_product(tensors_.products, product, product_scratch_, n_threads);
}

void FixedStage::find_norms(int n_threads) {
  const auto squares = active_kernels().objective.squares;
  const int64_t F = tensors_.n_features;
#pragma omp parallel for num_threads(n_threads)
  for (int64_t j = 0; j < tensors_.n_entries; ++j) {
    norms_[j] = static_cast<float>(std::sqrt(squares(tensors_.entries + j * F, F)));
  }
}

void FixedStage::find_gram(int n_threads) {
  multiply(product_of(entries(), entries().T(), gram_.data()), n_threads);
}

void FixedStage::prepare(int n_threads) {
  find_norms(n_threads);
  const Matrix target = {tensors_.target, tensors_.n_frames, tensors_.n_features};
  multiply(product_of(entries(), target.T(), numerator_.data()), n_threads);
  if (by_gram()) find_gram(n_threads);
}

void FixedStage::update(int64_t n_updates, bool over_relaxed, int n_threads) {
  const StagedTensors& t = tensors_;
  const Multiplicative rule = {.numerator = numerator_.data(),
                               .norms = norms_.data(),
                               .labels = t.labels,
                               .weights = weights_.data(),
                               .tiny = kTiny,
                               .over_relaxed = over_relaxed};
  for (int64_t i = 0; i < n_updates; ++i) {
    MatrixProduct product;
    if (by_gram()) {
      const Matrix gram = {gram_.data(), t.n_entries, t.n_entries};
      product = product_of(gram, activations(), t.activations);
    } else {
      multiply(product_of(activations().T(), entries(), residual_.data()), n_threads);
      product = product_of(entries(), residual().T(), t.activations);
    }
    product.rule = &rule;
    multiply(product, n_threads);
  }
}

void FixedStage::reweight() {
  const StagedTensors& t = tensors_;
  const auto add = active_kernels().objective.add_weighted;
  const int64_t S = t.n_sources, T = t.n_frames;
  std::fill(weights_.begin(), weights_.end(), 0.0f);
  for (int64_t j = 0; j < t.n_entries; ++j) {
    add(t.activations + j * T, T, &norms_[j], 1, T, &weights_[t.labels[j] * T], T);
  }
  std::vector<double> sums;
  for (int64_t s = 0; s < S; ++s) smooth(&weights_[s * T], T, settings_.smoothing / 2, sums);
  std::vector<float> strongest(T, kTiny);
  for (int64_t s = 0; s < S; ++s) {
    for (int64_t i = 0; i < T; ++i) {
      strongest[i] = std::max(strongest[i], weights_[s * T + i] + kTiny);
    }
  }
  const auto floor = static_cast<float>(settings_.floor);
  double total = 0.0;
  for (int64_t s = 0; s < S; ++s) {
    float* row = &weights_[s * T];
    for (int64_t i = 0; i < T; ++i) row[i] = 1.0f / (row[i] / strongest[i] + floor);
    total += std::accumulate(row, row + T, 0.0);
  }
  const auto scale = static_cast<float>(settings_.sparsity * static_cast<double>(S * T) / total);
  for (float& weight : weights_) weight *= scale;
}

std::vector<int64_t> FixedStage::find_alive(int n_threads) const {
  const StagedTensors& t = tensors_;
  std::vector<float> peaks(t.n_entries);
#pragma omp parallel for num_threads(n_threads)
  for (int64_t j = 0; j < t.n_entries; ++j) {
    const float* row = t.activations + j * t.n_frames;
    peaks[j] = *std::max_element(row, row + t.n_frames) * norms_[j];
  }
  const float least =
      static_cast<float>(settings_.dead) * *std::max_element(peaks.begin(), peaks.end());
  std::vector<int64_t> alive;
  for (int64_t j = 0; j < t.n_entries; ++j) {
    if (peaks[j] > least) alive.push_back(j);
  }
  const double most = (1.0 - settings_.drop_share) * static_cast<double>(t.n_entries);
  if (static_cast<double>(alive.size()) > most) alive.clear();
  return alive;
}

void FixedStage::keep(const std::vector<int64_t>& alive) {
  StagedTensors& t = tensors_;
  gather_rows(t.entries, t.n_features, alive);
  gather_rows(t.log_likelihoods, 1, alive);
  gather_rows(t.activations, t.n_frames, alive);
  gather_rows(t.labels, 1, alive);
  gather_rows(t.rows, 1, alive);
  gather_rows(norms_.data(), 1, alive);
  t.n_entries = static_cast<int64_t>(alive.size());
}

void FixedStage::drop_dead(int n_threads) {
  const std::vector<int64_t> alive = find_alive(n_threads);
  if (alive.empty()) return;
  const int64_t n_before = tensors_.n_entries;
  const bool had_gram = by_gram();
  keep(alive);
  gather_rows(numerator_.data(), tensors_.n_frames, alive);
  if (had_gram) {
    float* to = gram_.data();
    for (const int64_t i : alive) {
      for (const int64_t j : alive) *to++ = gram_[i * n_before + j];
    }
  } else if (by_gram()) {
    find_gram(n_threads);
  }
}

void FixedStage::evaluate(int n_threads) {
  const StagedTensors& t = tensors_;
  const int64_t J = t.n_entries, T = t.n_frames, F = t.n_features;
  multiply(product_of(activations().T(), entries(), residual_.data(), t.target), n_threads);
  norm_ = std::sqrt(sum_of_squares(residual_.data(), T, F, n_threads));
  sum_activations({.rows = J,
                   .frames = T,
                   .log_likelihoods = t.log_likelihoods,
                   .sums = sums_.data(),
                   .total = total_.data(),
                   .attributed = attributed_.data(),
                   .active = t.activations},
                  settings_.epsilon, n_threads);
  cost_ = norm_ - settings_.penalty * std::accumulate(attributed_.begin(), attributed_.end(), 0.0);
}

AdaptedStage::AdaptedStage(const Flow& flow, const StagedSettings& settings,
                           const StagedTensors& tensors, const CodeSettings& code_settings,
                           const CodeTensors& codes, int n_threads)
    : FixedStage(settings, tensors),
      n_groups_(code_settings.n_groups),
      codes_(flow, code_settings, codes),
      gradient_(unwritten(tensors.n_entries * tensors.n_features)),
      likelihood_gradient_(unwritten(tensors.n_entries)) {
  decode(n_threads);
  evaluate(n_threads);
}

void AdaptedStage::decode(int n_threads) {
  std::vector<int64_t> offsets(n_groups_ + 1), rows(tensors_.n_entries);
  for (int64_t j = 0; j < tensors_.n_entries; ++j) {
    ++offsets[(n_groups_ > 1 ? tensors_.labels[j] : 0) + 1];
  }
  std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
  std::iota(rows.begin(), rows.end(), 0);
  codes_.list(std::move(offsets), std::move(rows), n_threads);
}

void AdaptedStage::drop_dead(int n_threads) {
  find_norms(n_threads);
  const std::vector<int64_t> alive = find_alive(n_threads);
  if (alive.empty()) return;
  keep(alive);
  codes_.gather(alive);
  // What is kept for the gradient lies by step of the flow, not by entry.
  decode(n_threads);
}

void AdaptedStage::step_codes(int64_t step, double step_size, int n_threads) {
  const StagedTensors& t = tensors_;
  multiply(product_of(activations(), residual(), gradient_.data()), n_threads);
  likelihood_gradient({.rows = t.n_entries,
                       .frames = t.n_frames,
                       .total = total_.data(),
                       .penalty = static_cast<float>(settings_.penalty),
                       .active = t.activations},
                      likelihood_gradient_.data(), n_threads);
  codes_.step({.entries = gradient_.data(),
               .row_weights = nullptr,
               .log_likelihoods = likelihood_gradient_.data(),
               .scale = norm_ > 0.0 ? static_cast<float>(1 / norm_) : 0.0f},
              step_size, step + 1, n_threads);
}

std::vector<double> AdaptedStage::steps(int64_t first, const std::vector<double>& step_sizes,
                                        int64_t n_updates, int64_t look_every, int n_threads) {
  std::vector<double> costs;
  for (size_t i = 0; i < step_sizes.size(); ++i) {
    const int64_t step = first + static_cast<int64_t>(i);
    step_codes(step, step_sizes[i], n_threads);
    if (step % look_every == 0) {
      drop_dead(n_threads);
      reweight();
    }
    prepare(n_threads);
    update(n_updates, false, n_threads);
    evaluate(n_threads);
    costs.push_back(cost_);
    if (!std::isfinite(cost_)) break;
  }
  return costs;
}

}  // namespace dds
