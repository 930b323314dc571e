// All steps of one flow on one block of rows, in either direction, between the memory and what is
// asked for.
//
// A product's columns are shared out among the CTAs; each writes what it has made to all of them,
// and they meet.
#pragma once

#include "bank_block.h"
#include "bank_product.h"
#include "bank_records.h"
#include "bank_stash.h"
#include "chunk_ring.h"

namespace dds {

template <class Machine, Precision kPrecision>
class BankSteps {
 public:
  using Block = BankBlock<Machine, kPrecision>;

  DDS_DEVICE explicit BankSteps(const Block& block)
      : records(block),
        b_(block),
        m_(block.machine),
        shape_(block.shape),
        stash_(block),
        ring_(block.machine, block.plan) {}

  // What follows, in its order; then `start`. Steps lie in the order of encode.
  DDS_DEVICE void queue_forward() { queue(b_.arguments.weights, shape_.forward_chunks, b_.decode); }
  DDS_DEVICE void queue_backward() {
    queue(b_.arguments.transposed, shape_.backward_chunks, !b_.decode);
  }

  DDS_DEVICE void start() {
    m_.make_barriers(reinterpret_cast<uint64_t*>(m_.shared() + b_.plan.barriers), b_.plan.n_stages);
    m_.meet();
    ring_.start();
  }

  // Of the state, from the places of the first record to those of the last. This thread's part of
  // the rows' log-determinants comes to `log_det`.
  DDS_DEVICE void forward(float (&log_det)[kMaxRowTiles]) {
    DDS_UNROLL
    for (int j = 0; j < kMaxRowTiles; ++j) log_det[j] = 0.0f;
    const auto nothing = [](int, int) { return Float2{0.0f, 0.0f}; };
    const int last = shape_.n_layers - 1;
    for (int i = 0; i < shape_.n_steps; ++i) {
      records.ask(i + 1);
      gather_passing();
      m_.sync();
      for (int layer = 0; layer < last; ++layer) {
        multiply(shape_.forward[layer], b_.operand(layer), nothing,
                 [&](int pair, int block, int row, int j, Float2, float first, float second) {
                   first = activate(first);
                   second = activate(second);
                   stash_.keep(i, b_.plan.hidden_block[layer] + block, j, first, second);
                   b_.put_operand(layer + 1, pair, row, first, second);
                 });
        m_.meet();
      }
      const uint16_t* places = records.places() + shape_.n_passing;
      const float alpha = records.scales().alpha, beta = records.scales().beta;
      multiply(shape_.forward[last], b_.operand(last), nothing,
               [&](int feature, int block, int row, int j, Float2, float raw, float translation) {
                 if (feature >= shape_.n_moving) return;
                 const int place = places[feature];
                 const float input = b_.state(place, row);
                 const scalar::Affine a =
                     scalar::affine(b_.decode, input, raw, translation, alpha, beta);
                 stash_.keep(i, b_.plan.affine_block + block, j, a.bounded,
                             b_.decode ? a.result : input);
                 b_.put_state(place, row, a.result);
                 log_det[j] += b_.decode ? -a.log_scale : a.log_scale;
               });
      records.store_asked();
      m_.meet();
      records.advance();
    }
  }

  // Of gradients, from the places of the result to the features' own order. The rows' values are
  // the gradients to their log-determinants, where these have any.
  DDS_DEVICE void backward(bool with_log_det) {
    stash_.prefetch(shape_.n_steps - 1);
    const int last = shape_.n_layers - 1;
    records.ask(shape_.n_steps - 1);
    records.store_asked();
    m_.sync();
    records.advance();
    for (int i = shape_.n_steps - 1; i >= 0; --i) {
      if (i > 0) records.ask(i - 1);
      stash_.prefetch(i - 1);
      uncouple(i, with_log_det);
      m_.meet();
      for (int layer = 0; layer < last; ++layer) {
        const int hidden = b_.plan.hidden_block[last - 1 - layer];
        multiply(
            shape_.backward[layer], b_.operand(layer),
            [&](int block, int j) { return stash_.kept(i, hidden + block, j); },
            [&](int pair, int, int row, int, Float2 y, float first, float second) {
              b_.put_operand(layer + 1, pair, row, first * slope(y.x), second * slope(y.y));
            });
        m_.meet();
      }
      multiply(
          shape_.backward[last], b_.operand(last), [](int, int) { return Float2{0.0f, 0.0f}; },
          [&](int pair, int, int row, int, Float2, float first, float second) {
            add_to_passing(2 * pair, row, first);
            add_to_passing(2 * pair + 1, row, second);
          });
      if (i > 0) records.store_asked();
      m_.meet();
      if (i > 0) records.advance();
    }
  }

  BankRecords<Block> records;

 private:
  DDS_DEVICE void queue(const char* weights, int n_chunks, bool last_step_first) {
    const int64_t cta_bytes = static_cast<int64_t>(n_chunks) * kChunkBytes;
    const int64_t step_bytes = cta_bytes * shape_.n_ctas;
    const int64_t first = b_.group * shape_.n_steps + (last_step_first ? shape_.n_steps - 1 : 0);
    ring_.queue(weights + first * step_bytes + b_.rank * cta_bytes,
                last_step_first ? -step_bytes : step_bytes, n_chunks, shape_.n_steps);
  }

  // All panels of this CTA. `prepare(block, j)` is asked before the product for what
  // `finish(pair, block, row, j, prepared, first, second)` needs after it.
  template <class Prepare, class Finish>
  DDS_DEVICE void multiply(const BankLayer& layer, const uint32_t* operand, const Prepare& prepare,
                           const Finish& finish) {
    constexpr int kInputs = chunk_inputs(kPrecision);
    constexpr int kWordsPerInputPair = Block::kBfloat16 ? 1 : 2;
    const BankPlan& plan = b_.plan;
    for (int panel = 0; panel < layer.n_panels; ++panel) {
      const int block = (b_.rank * layer.n_panels + panel) * kBankWarps + b_.warp;
      Float2 prepared[kMaxRowTiles] = {};
      b_.for_row_tiles([&](int, int j) { prepared[j] = prepare(block, j); });
      Product<Machine, kPrecision> product(m_, plan, b_.n_tiles);
      Float2 bias = {0.0f, 0.0f};
      for (int first = 0; first < layer.n_in; first += kInputs) {
        const char* chunk = ring_.acquire();
        const int left = layer.n_in - first;
        product.add(chunk, operand + first / 2 * kWordsPerInputPair * plan.row_stride,
                    min_of(left, kInputs));
        bias = reinterpret_cast<const Float2*>(chunk + kWeightBytes)[b_.warp * 4 + b_.member()];
        m_.sync();
        ring_.release();
      }
      product.write(b_.partials());
      m_.sync();
      const float* sums = b_.partials() + 2 * (b_.warp * 4 + b_.member()) * plan.partial_stride;
      Float2 values[kMaxRowTiles] = {};
      b_.for_row_tiles([&](int, int j) { values[j] = bias; });
      DDS_UNROLL_1
      for (int split = 0; split < plan.n_splits; ++split) {
        b_.for_row_tiles([&](int row, int j) {
          values[j].x += sums[row];
          values[j].y += sums[plan.partial_stride + row];
        });
        sums += kPanelColumns * plan.partial_stride;
      }
      b_.for_row_tiles([&](int row, int j) {
        finish(4 * block + b_.member(), block, row, j, prepared[j], values[j].x, values[j].y);
      });
    }
  }

  DDS_DEVICE float activate(float x) const {
    const bool selu = b_.arguments.activation == Activation::selu;
    return selu ? scalar::selu(x) : scalar::leaky_relu(x);
  }
  DDS_DEVICE float slope(float y) const {
    const bool selu = b_.arguments.activation == Activation::selu;
    return selu ? scalar::selu_slope(y) : scalar::leaky_relu_slope(y);
  }

  // The passing half of the state as inputs of the first product, in every CTA by itself.
  DDS_DEVICE void gather_passing() const {
    const uint16_t* places = records.places();
    for (int pair = b_.warp * 4 + b_.member(); pair < shape_.forward[0].n_in / 2;
         pair += kBankWarps * 4) {
      const bool with_first = 2 * pair < shape_.n_passing;
      const bool with_second = 2 * pair + 1 < shape_.n_passing;
      const int first = with_first ? places[2 * pair] : 0;
      const int second = with_second ? places[2 * pair + 1] : 0;
      b_.for_rows([&](int row, int) {
        b_.store_operand(m_.shared(), 0, pair, row, with_first ? b_.state(first, row) : 0.0f,
                         with_second ? b_.state(second, row) : 0.0f);
      });
    }
  }

  DDS_DEVICE void add_to_passing(int feature, int row, float gradient) const {
    if (feature >= shape_.n_passing) return;
    const int place = records.places()[feature];
    b_.put_state(place, row, b_.state(place, row) + gradient);
  }

  // Through the affine map of step i: this CTA's moving features.
  DDS_DEVICE void uncouple(int i, bool with_log_det) const {
    const uint16_t* places = records.places() + shape_.n_passing;
    const float alpha = records.scales().alpha, beta = records.scales().beta;
    const int n_blocks = shape_.forward[shape_.n_layers - 1].n_panels * kBankWarps;
    for (int b = b_.warp; b < n_blocks; b += kBankWarps) {
      const int block = b_.rank * n_blocks + b;
      const int feature = 4 * block + b_.member();
      const bool present = feature < shape_.n_moving;
      const int place = present ? places[feature] : 0;
      b_.for_rows([&](int row, int j) {
        if (!present) return b_.put_operand(0, feature, row, 0.0f, 0.0f);
        const Float2 kept = stash_.kept(i, b_.plan.affine_block + block, j);
        const scalar::AffineGradient gradient =
            scalar::affine_backward(b_.decode, b_.state(place, row), kept.x, kept.y, alpha, beta,
                                    with_log_det ? b_.row_values()[row] : 0.0f);
        b_.put_state(place, row, gradient.input);
        b_.put_operand(0, feature, row, gradient.raw, gradient.translation);
      });
    }
  }

  const Block& b_;
  Machine& m_;
  const BankShape& shape_;
  BankStash<Block> stash_;
  ChunkRing<Machine> ring_;
};

}  // namespace dds
