#include "search.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "adam_corrections.h"

namespace dds {
namespace {

// Products over positive activations are taken where fewer than one in so many is positive: for
// each of these they take about four times as long as a dense float32 product takes for each of
// all. Split products are faster.
int64_t dense_share(Format products) { return products == Format::split ? 8 : 4; }

double sum(const float* values, int64_t n) { return std::accumulate(values, values + n, 0.0); }

}  // namespace

int64_t search_product_bytes(Format format, int64_t n_entries, int64_t n_frames, int64_t n_features,
                             int n_threads) {
  return std::max({matrix_product_bytes(format, n_entries, n_features, n_threads),
                   matrix_product_bytes(format, n_frames, n_features, n_threads),
                   matrix_product_bytes(format, n_features, n_frames, n_threads)});
}

Search::Search(const Flow& flow, const SearchTensors& tensors, Schedule& schedule, int n_threads)
    : flow_(flow), tensors_(tensors), schedule_(schedule) {
  tensors_.latents.grad_entries = per_frame() ? tensors_.residual : tensors_.gradient;
  tensors_.latents.row_weights = per_frame() ? tensors_.activations.active : nullptr;
  tensors_.latents.grad_log_likelihoods = tensors_.likelihood_gradient;
  ActivationTensors& h = tensors_.activations;
  h.correlation = tensors_.correlation;
  h.log_likelihoods = tensors_.latents.log_likelihoods;
  h.penalty = static_cast<float>(tensors_.penalty);
  h.sparsity = static_cast<float>(tensors_.sparsity);
  n_active_ = std::count_if(h.active, h.active + h.rows * h.frames, [](float a) { return a > 0; });
  evaluate(n_threads);
}

void Search::step(int n_threads) {
  step_latents(n_threads);
  step_activations(n_threads);
  schedule_.observe(cost_);
}

void Search::multiply(const MatrixProduct& product, int n_threads) const {
  matrix_product(tensors_.products, product, tensors_.product_scratch, n_threads);
}

float Search::inverse_norm() const { return norm_ > 0.0 ? static_cast<float>(1 / norm_) : 0.0f; }

bool Search::sparse() const {
  const int64_t n = tensors_.activations.rows * tensors_.activations.frames;
  return per_frame() || n_active_ * dense_share(tensors_.products) < n;
}

Entries Search::entries() const {
  const float* values = tensors_.latents.entries;
  const int64_t n_features = tensors_.n_features;
  if (!per_frame()) return Entries::shared(values, n_features);
  return Entries::of_each_frame(values, tensors_.activations.frames, n_features);
}

void Search::evaluate(int n_threads) {
  const ActivationTensors& h = tensors_.activations;
  const int64_t F = tensors_.n_features;
  if (sparse()) {
    sparse_residual(entries(), {h.active, h.rows, h.frames}, tensors_.target, tensors_.residual,
                    n_threads);
  } else {
    multiply({h.frames,
              h.rows,
              F,
              {h.active, h.frames, true},
              {tensors_.latents.entries, F, false},
              tensors_.target,
              tensors_.residual},
             n_threads);
  }
  norm_ = std::sqrt(sum_of_squares(tensors_.residual, h.frames, F, n_threads));
  sum_activations(h, tensors_.epsilon, n_threads);
  cost_ = norm_ - tensors_.penalty * sum(h.attributed, h.frames) +
          tensors_.sparsity * sum(h.sums, h.frames);
}

void Search::step_latents(int n_threads) {
  const ActivationTensors& h = tensors_.activations;
  const int64_t F = tensors_.n_features;
  // With an entry per frame, the flow takes the residual and weighs it itself.
  if (!per_frame() && sparse()) {
    sparse_gradient({h.active, h.rows, h.frames}, tensors_.residual, F, tensors_.gradient,
                    n_threads);
  } else if (!per_frame()) {
    multiply({h.rows,
              h.frames,
              F,
              {h.active, h.frames, false},
              {tensors_.residual, F, false},
              nullptr,
              tensors_.gradient},
             n_threads);
  }
  likelihood_gradient(h, tensors_.likelihood_gradient, n_threads);
  LatentTensors& z = tensors_.latents;
  z.grad_scale = inverse_norm();
  set_adam_corrections(schedule_.step_size(), schedule_.n_costs(), z);
  flow_update(flow_, tensors_.batch, z, tensors_.flow_scratch, n_threads);
  evaluate(n_threads);
}

void Search::step_activations(int n_threads) {
  ActivationTensors& h = tensors_.activations;
  const int64_t F = tensors_.n_features;
  if (sparse()) {
    sparse_correlation(entries(), {h.active, h.rows, h.frames}, tensors_.residual,
                       tensors_.correlation, n_threads);
  } else {
    multiply({h.rows,
              F,
              h.frames,
              {tensors_.latents.entries, F, false},
              {tensors_.residual, F, true},
              nullptr,
              tensors_.correlation},
             n_threads);
  }
  h.inverse_norm = inverse_norm();
  set_adam_corrections(schedule_.step_size(), schedule_.n_costs(), h);
  n_active_ = move_activations(h, n_threads);
  evaluate(n_threads);
}

}  // namespace dds
