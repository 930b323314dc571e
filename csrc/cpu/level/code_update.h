// The latent half of an update step, for a block of rows: backward through the flow, Adam on the
// codes, and the next decode.
#pragma once

#include "adam.h"
#include "backward_pass.h"
#include "forward_pass.h"
#include "objective_rows.h"

namespace dds::DDS_LEVEL {

// The gradients to the decoded rows into the state, and to the log-likelihoods.
template <class Pass>
static void read_gradient(Pass& pass, const CodeTensors& t, float* grad_log_det) {
  const FlowBlock& block = pass.block;
  const int64_t n_features = pass.layout.n_features(), n_free = n_features - t.n_fixed;
  pass.state.for_rows([&](int64_t row) {
    const int64_t index = block.at(row);
    const float* entry = t.entries + index * n_features;
    const CodeGradient& g = t.gradient;
    const bool weighted = g.row_weights != nullptr;
    const float* gradient =
        g.entries + (weighted ? index - block.group * block.tensor_rows : index) * n_features;
    const float scale = weighted ? g.scale * g.row_weights[index] : g.scale;
    float* gated = block.scratch.row_buffer;
    for (int64_t i = 0; i < n_features; i += kLanes) {
      const int64_t left = n_features - i;
      const Vec grad = load(gradient + i, left) * scale;
      store(gated + i, load(entry + i, left) > 0.0f ? grad : Vec{}, left);
    }
    pass.state.place(gated, pass.state.row(row));
    grad_log_det[row] = -g.log_likelihoods[index] / static_cast<float>(n_free);
  });
  pass.state.wait();
}

// Adam on the n moving codes of one row; d l / d z = -z / D comes to the gradient.
static inline void move_codes(const CodeTensors& t, float pull, const float* gradient, float* z,
                              float* m, float* v, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const int64_t left = n - i;
    const Vec code = load(z + i, left);
    const Vec grad = load(gradient + i, left) + code * pull;
    const Vec step = adam_step(grad, m + i, v + i, left, t.step_size, t.rms_correction);
    store(z + i, code - step, left);
  }
}

// The codes to clipped entries and their log-likelihoods.
template <class Activation, class Pass>
static void decode(Pass& pass, const CodeTensors& t, const Stash<Pass::kFormat>& stash) {
  const FlowBlock& block = pass.block;
  const int64_t n_features = pass.layout.n_features(), n_free = n_features - t.n_fixed;
  pass.state.read(t.codes);
  forward<Activation>(pass, stash);
  pass.state.for_rows([&](int64_t row) {
    const int64_t index = block.at(row);
    float* decoded = block.scratch.row_buffer;
    pass.state.gather_row(row, decoded);
    float* entry = t.entries + index * n_features;
    for (int64_t i = 0; i < n_features; i += kLanes) {
      store(entry + i, clipped(load(decoded + i, n_features - i)), n_features - i);
    }
    constexpr double kHalfLogTwoPi = 0.9189385332046727;
    double nats = 0.5 * row_squares(t.codes + index * n_features + t.n_fixed, n_free);
    if (t.data_likelihood) nats += log_det(pass, row) + t.constants[block.group];
    t.log_likelihoods[index] =
        static_cast<float>(-kHalfLogTwoPi - nats / static_cast<double>(n_free));
  });
}

template <class Activation, class Pass>
static void decode_block(Pass& pass, const CodeTensors& t) {
  decode<Activation>(pass, t, Stash<Pass::kFormat>(pass.flow, pass.block, t.stash));
}

template <class Activation, class Pass>
static void update_block(Pass& pass, const CodeTensors& t) {
  const FlowBlock& block = pass.block;
  const int64_t n_features = pass.layout.n_features(), n_free = n_features - t.n_fixed;
  const Stash<Pass::kFormat> stash(pass.flow, block, t.stash);
  if (block.own_stash) {
    pass.state.read(t.codes);
    forward<Activation>(pass, stash);
    pass.state.wait();
  }
  float* grad_log_det = block.scratch.row_values;
  read_gradient(pass, t, grad_log_det);
  backward<Activation>(pass, stash, t.data_likelihood ? grad_log_det : nullptr);
  pass.state.for_rows([&](int64_t row) {
    const int64_t index = block.at(row);
    float* gradient = block.scratch.row_buffer;
    pass.state.gather_row(row, gradient);
    move_codes(t, grad_log_det[row], gradient + t.n_fixed, t.codes + index * n_features + t.n_fixed,
               t.first_moment + index * n_free, t.second_moment + index * n_free, n_free);
  });
  pass.state.wait();
  decode<Activation>(pass, t, block.own_stash ? Stash<Pass::kFormat>(pass.flow) : stash);
}

}  // namespace dds::DDS_LEVEL
