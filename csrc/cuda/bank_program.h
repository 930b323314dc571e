// What a launch over a flow bank does with one block of rows: a pass, or an update step.
#pragma once

#include "bank_steps.h"

namespace dds {

template <class Machine, Precision kPrecision>
class BankProgram {
 public:
  using Block = BankBlock<Machine, kPrecision>;

  // The block is an object by itself: one that refers to itself would not stay in registers.
  DDS_DEVICE explicit BankProgram(const Block& block) : b_(block), steps_(block) {}

  DDS_DEVICE void forward() {
    const ForwardTensors& t = b_.arguments.forward;
    steps_.queue_forward();
    steps_.start();
    steps_.records.load(0);
    b_.read_state(nullptr, [&](int row, int feature) { return t.in[b_.element(row, feature)]; });
    b_.machine.meet();
    float log_dets[kMaxRowTiles];
    steps_.forward(log_dets);
    const float log_det = b_.row_total(log_dets) + b_.arguments.constants[b_.group];
    if (is_first(b_.thread)) t.log_det[b_.at_row(b_.thread)] = log_det;
    const uint16_t* places = steps_.records.places();
    b_.for_own_features([&](int feature, int row, int) {
      t.out[b_.element(row, feature)] = b_.state(places[feature], row);
    });
  }

  DDS_DEVICE void backward() {
    const BackwardTensors& t = b_.arguments.backward;
    steps_.queue_backward();
    steps_.start();
    steps_.records.load(b_.shape.n_steps);
    b_.read_row_values(
        [&](int row) { return t.grad_log_det ? t.grad_log_det[b_.at_row(row)] : 0.0f; });
    b_.read_state(steps_.records.places(),
                  [&](int row, int feature) { return t.grad_out[b_.element(row, feature)]; });
    b_.machine.meet();
    steps_.backward(true);
    b_.for_own_features([&](int feature, int row, int) {
      t.grad_in[b_.element(row, feature)] = b_.state(feature, row);
    });
  }

  // Backward, Adam on the latents and the next decode, of one flow back to back.
  DDS_DEVICE void update() {
    const BankUpdateTensors& t = b_.arguments.update;
    if (t.stopped && *t.stopped) return;
    const int n_free = b_.shape.n_features() - t.n_fixed;
    steps_.queue_backward();
    steps_.queue_forward();
    steps_.start();
    steps_.records.load(b_.shape.n_steps);
    // d l / d z = -z / D, and - log_det / D with the data likelihood
    b_.read_row_values([&](int row) {
      return -t.grad_log_likelihoods[b_.at_row(row)] / static_cast<float>(n_free);
    });
    read_gradient();
    b_.machine.meet();
    steps_.backward(t.data_likelihood);

    float values[kMaxRowTiles];
    move_latents(n_free, values);
    const float squares = b_.row_total(values);
    steps_.forward(values);
    const float log_det = b_.row_total(values);
    if (is_first(b_.thread)) {
      constexpr float kHalfLogTwoPi = 0.9189385332046727f;
      float value = -kHalfLogTwoPi - 0.5f * squares / static_cast<float>(n_free);
      if (t.data_likelihood) {
        value -= (log_det + b_.arguments.constants[b_.group]) / static_cast<float>(n_free);
      }
      t.log_likelihoods[b_.at_row(b_.thread)] = value;
    }
    const uint16_t* places = steps_.records.places();
    b_.for_own_features([&](int feature, int row, int) {
      t.entries[b_.element(row, feature)] = scalar::clipped(b_.state(places[feature], row));
    });
  }

 private:
  // Whether this thread writes what there is one of per row.
  DDS_DEVICE bool is_first(int row) const { return b_.rank == 0 && row < b_.n_rows(); }

  // To the decoded rows, into the state.
  DDS_DEVICE void read_gradient() const {
    const BankUpdateTensors& t = b_.arguments.update;
    const float scale = t.scalars[0];
    b_.read_state(steps_.records.places(), [&](int row, int feature) {
      const bool weighted = t.row_weights != nullptr;
      const int64_t in_group = b_.first_tile * kRowTile + row;
      const int64_t from =
          weighted ? in_group * b_.shape.n_features() + feature : b_.element(row, feature);
      const float gradient =
          t.grad_entries[from] * (weighted ? scale * t.row_weights[b_.at_row(row)] : scale);
      return t.entries[b_.element(row, feature)] > 0.0f ? gradient : 0.0f;
    });
  }

  // Adam on this CTA's share of the latents, whose gradient is in the state; the new latents take
  // its place, and the sums of their squares come to `squares`.
  DDS_DEVICE void move_latents(int n_free, float (&squares)[kMaxRowTiles]) const {
    const BankUpdateTensors& t = b_.arguments.update;
    const float step_size = t.scalars[1], rms_correction = t.scalars[2];
    DDS_UNROLL
    for (int j = 0; j < kMaxRowTiles; ++j) squares[j] = 0.0f;
    b_.for_own_features([&](int feature, int row, int j) {
      float* latent = t.latents + b_.element(row, feature);
      float z = *latent;
      if (feature >= t.n_fixed) {
        const int64_t moment = b_.at_row(row) * n_free + feature - t.n_fixed;
        const float gradient = fmaf(z, b_.row_values()[row], b_.state(feature, row));
        const float first = scalar::adam_first(t.first_moment[moment], gradient);
        const float second = scalar::adam_second(t.second_moment[moment], gradient);
        z = scalar::adam_step(z, first, second, step_size, rms_correction);
        t.first_moment[moment] = first;
        t.second_moment[moment] = second;
        *latent = z;
        squares[j] = fmaf(z, z, squares[j]);
      }
      b_.put_state(feature, row, z);
    });
  }

  const Block& b_;
  BankSteps<Machine, kPrecision> steps_;
};

}  // namespace dds
