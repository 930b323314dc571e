#include "staged.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "adam_corrections.h"
#include "kernel_table.h"
#include "objective.h"

namespace dds {
namespace {

constexpr float kTiny = 1e-9f;  // added to denominators

// Rows `kept` of a matrix to its beginning, in their order.
template <class Number>
void gather_rows(Number* matrix, int64_t width, const std::vector<int64_t>& kept) {
  for (size_t i = 0; i < kept.size(); ++i) {
    const auto to = static_cast<int64_t>(i);
    if (to != kept[i]) {
      std::memmove(matrix + to * width, matrix + kept[i] * width, width * sizeof(Number));
    }
  }
}

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

int64_t staged_product_bytes(Format format, int64_t n_entries, int64_t n_frames, int64_t n_features,
                             int n_threads) {
  const auto bytes = [&](int64_t k, int64_t n) {
    return matrix_product_bytes(format, k, n, n_threads);
  };
  return std::max({bytes(n_features, n_frames), bytes(n_features, n_entries),
                   bytes(n_entries, n_frames), bytes(n_entries, n_features),
                   bytes(n_frames, n_features)});
}

FixedStage::FixedStage(const StagedSettings& settings, const StagedTensors& tensors, int n_threads)
    : settings_(settings), tensors_(tensors) {
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
      std::fill_n(tensors_.weights, tensors_.n_sources * tensors_.n_frames,
                  static_cast<float>(settings_.fixed_sparsity));
    }
    update(n, true, n_threads);
    drop_dead(n_threads);
    evaluate(n_threads);
    costs.push_back(cost_);
    if (!std::isfinite(cost_)) break;
  }
  return costs;
}

void FixedStage::multiply(const MatrixProduct& product, int n_threads) const {
  matrix_product(tensors_.products, product, tensors_.product_scratch, n_threads);
}

void FixedStage::find_norms(int n_threads) {
  const auto squares = active_kernels().squares;
  const int64_t F = tensors_.n_features;
#pragma omp parallel for num_threads(n_threads)
  for (int64_t j = 0; j < tensors_.n_entries; ++j) {
    tensors_.norms[j] = static_cast<float>(std::sqrt(squares(tensors_.entries + j * F, F)));
  }
}

void FixedStage::find_gram(int n_threads) {
  const int64_t J = tensors_.n_entries, F = tensors_.n_features;
  const Factor entries = {tensors_.entries, F, false};
  multiply({J, F, J, entries, {tensors_.entries, F, true}, nullptr, tensors_.gram}, n_threads);
}

void FixedStage::prepare(int n_threads) {
  const int64_t F = tensors_.n_features;
  find_norms(n_threads);
  multiply({tensors_.n_entries,
            F,
            tensors_.n_frames,
            {tensors_.entries, F, false},
            {tensors_.target, F, true},
            nullptr,
            tensors_.numerator},
           n_threads);
  if (by_gram()) find_gram(n_threads);
}

void FixedStage::update(int64_t n_updates, bool over_relaxed, int n_threads) {
  const StagedTensors& t = tensors_;
  const int64_t J = t.n_entries, T = t.n_frames, F = t.n_features;
  const Multiplicative rule = {t.numerator, t.norms, t.labels, t.weights, kTiny, over_relaxed};
  for (int64_t i = 0; i < n_updates; ++i) {
    MatrixProduct product = {
        J, J, T, {t.gram, J, false}, {t.activations, T, false}, nullptr, t.activations};
    if (!by_gram()) {
      multiply({T, J, F, {t.activations, T, true}, {t.entries, F, false}, nullptr, t.residual},
               n_threads);
      product.k = F;
      product.a = {t.entries, F, false};
      product.b = {t.residual, F, true};
    }
    product.rule = &rule;
    multiply(product, n_threads);
  }
}

void FixedStage::reweight() {
  const StagedTensors& t = tensors_;
  const auto add = active_kernels().add_weighted;
  const int64_t S = t.n_sources, T = t.n_frames;
  std::fill_n(t.weights, S * T, 0.0f);
  for (int64_t j = 0; j < t.n_entries; ++j) {
    add(t.activations + j * T, T, t.norms + j, 1, T, t.weights + t.labels[j] * T, T);
  }
  std::vector<double> sums;
  for (int64_t s = 0; s < S; ++s) smooth(t.weights + s * T, T, settings_.smoothing / 2, sums);
  std::vector<float> strongest(T, kTiny);
  for (int64_t s = 0; s < S; ++s) {
    for (int64_t i = 0; i < T; ++i) {
      strongest[i] = std::max(strongest[i], t.weights[s * T + i] + kTiny);
    }
  }
  const auto floor = static_cast<float>(settings_.floor);
  double total = 0.0;
  for (int64_t s = 0; s < S; ++s) {
    float* row = t.weights + s * T;
    for (int64_t i = 0; i < T; ++i) row[i] = 1.0f / (row[i] / strongest[i] + floor);
    total += std::accumulate(row, row + T, 0.0);
  }
  const auto scale = static_cast<float>(settings_.sparsity * static_cast<double>(S * T) / total);
  std::transform(t.weights, t.weights + S * T, t.weights, [&](float u) { return u * scale; });
}

std::vector<int64_t> FixedStage::find_alive(int n_threads) const {
  const StagedTensors& t = tensors_;
  std::vector<float> peaks(t.n_entries);
#pragma omp parallel for num_threads(n_threads)
  for (int64_t j = 0; j < t.n_entries; ++j) {
    const float* row = t.activations + j * t.n_frames;
    peaks[j] = *std::max_element(row, row + t.n_frames) * t.norms[j];
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
  gather_rows(t.norms, 1, alive);
  t.n_entries = static_cast<int64_t>(alive.size());
}

void FixedStage::drop_dead(int n_threads) {
  const std::vector<int64_t> alive = find_alive(n_threads);
  if (alive.empty()) return;
  const int64_t n_before = tensors_.n_entries;
  const bool had_gram = by_gram();
  keep(alive);
  gather_rows(tensors_.numerator, tensors_.n_frames, alive);
  if (had_gram) {
    float* to = tensors_.gram;
    for (const int64_t i : alive) {
      for (const int64_t j : alive) *to++ = tensors_.gram[i * n_before + j];
    }
  } else if (by_gram()) {
    find_gram(n_threads);
  }
}

void FixedStage::evaluate(int n_threads) {
  const StagedTensors& t = tensors_;
  const int64_t J = t.n_entries, T = t.n_frames, F = t.n_features;
  multiply({T, J, F, {t.activations, T, true}, {t.entries, F, false}, t.target, t.residual},
           n_threads);
  norm_ = std::sqrt(sum_of_squares(t.residual, T, F, n_threads));
  ActivationTensors sums = {};
  sums.rows = J;
  sums.frames = T;
  sums.active = t.activations;
  sums.log_likelihoods = t.log_likelihoods;
  sums.sums = t.sums;
  sums.total = t.total;
  sums.attributed = t.attributed;
  sum_activations(sums, settings_.epsilon, n_threads);
  cost_ = norm_ - settings_.penalty * std::accumulate(t.attributed, t.attributed + T, 0.0);
}

AdaptedStage::AdaptedStage(const Flow& flow, const StagedSettings& settings,
                           const StagedTensors& tensors, const CodeTensors& codes, int n_threads)
    : FixedStage(settings, tensors), flow_(flow), codes_(codes) {
  listed_.resize(tensors.n_entries);
  std::iota(listed_.begin(), listed_.end(), 0);
  assign();
  decode(n_threads);
  evaluate(n_threads);
}

void AdaptedStage::assign() {
  offsets_.assign(codes_.n_groups + 1, 0);
  for (int64_t j = 0; j < tensors_.n_entries; ++j) {
    ++offsets_[(codes_.n_groups > 1 ? tensors_.labels[j] : 0) + 1];
  }
  std::partial_sum(offsets_.begin(), offsets_.end(), offsets_.begin());
}

Batch AdaptedStage::batch() const {
  return {codes_.n_groups, tensors_.n_entries, offsets_.data(), listed_.data()};
}

void AdaptedStage::decode(int n_threads) {
  const int64_t J = tensors_.n_entries, F = tensors_.n_features;
  const auto needed = static_cast<size_t>(scratch_bytes(flow_, batch(), false, n_threads));
  if (scratch_.size() < needed) scratch_.resize(needed);
  flow_forward(flow_, batch(), {codes_.codes, tensors_.entries, codes_.log_dets, codes_.stash},
               scratch_.data(), n_threads);
  const int64_t n_free = F - codes_.n_fixed;
  const auto squares = active_kernels().squares;
  for (int64_t group = 0; group < codes_.n_groups; ++group) {
    for (int64_t j = offsets_[group]; j < offsets_[group + 1]; ++j) {
      for (int64_t i = j * F; i < (j + 1) * F; ++i) {
        // NaN stays NaN.
        if (tensors_.entries[i] < 0.0f) tensors_.entries[i] = 0.0f;
      }
      constexpr double kHalfLogTwoPi = 0.9189385332046727;
      const double half = 0.5 * squares(codes_.codes + j * F + codes_.n_fixed, n_free);
      const double log_det =
          codes_.data_likelihood ? codes_.log_dets[j] + codes_.constants[group] : 0.0;
      tensors_.log_likelihoods[j] =
          static_cast<float>(-kHalfLogTwoPi - (half + log_det) / static_cast<double>(n_free));
    }
  }
}

void AdaptedStage::drop_dead(int n_threads) {
  find_norms(n_threads);
  const std::vector<int64_t> alive = find_alive(n_threads);
  if (alive.empty()) return;
  const int64_t F = tensors_.n_features;
  keep(alive);
  gather_rows(codes_.codes, F, alive);
  gather_rows(codes_.first_moment, F - codes_.n_fixed, alive);
  gather_rows(codes_.second_moment, F - codes_.n_fixed, alive);
  assign();
  // What is kept for the gradient lies by step of the flow, not by entry.
  decode(n_threads);
}

void AdaptedStage::step_codes(int64_t step, double step_size, int n_threads) {
  const StagedTensors& t = tensors_;
  const int64_t J = t.n_entries, T = t.n_frames, F = t.n_features;
  multiply({J, T, F, {t.activations, T, false}, {t.residual, F, false}, nullptr, codes_.gradient},
           n_threads);
  ActivationTensors h = {};
  h.rows = J;
  h.frames = T;
  h.active = t.activations;
  h.total = t.total;
  h.penalty = static_cast<float>(settings_.penalty);
  likelihood_gradient(h, codes_.likelihood_gradient, n_threads);
  LatentTensors z = {};
  z.grad_entries = codes_.gradient;
  z.grad_log_likelihoods = codes_.likelihood_gradient;
  z.grad_scale = norm_ > 0.0 ? static_cast<float>(1 / norm_) : 0.0f;
  z.data_likelihood = codes_.data_likelihood;
  z.n_fixed = codes_.n_fixed;
  set_adam_corrections(step_size, step + 1, z);
  z.latents = codes_.codes;
  z.first_moment = codes_.first_moment;
  z.second_moment = codes_.second_moment;
  z.entries = t.entries;
  z.constants = codes_.constants;
  z.log_likelihoods = t.log_likelihoods;
  z.stash = codes_.stash;
  flow_update(flow_, batch(), z, scratch_.data(), n_threads);
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
