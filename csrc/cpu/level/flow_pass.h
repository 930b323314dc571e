// One block of rows through a flow: forward, gradient, and the latent half of an update step.
//
// A block's rows stay in the scratch of the team of threads that works on it. Within a team the
// panels of each product are shared out, and so are the rows of what lies between the products.
#pragma once

#include "adam.h"
#include "coupling.h"
#include "cpu/flow.h"
#include "cpu/flow_block.h"
#include "operand.h"
#include "product.h"
#include "stash.h"

namespace dds::DDS_LEVEL {

template <Format kFormat, class Activation, bool kDecode>
class FlowPass {
  using Op = Operand<kFormat>;
  using Element = typename Op::Element;
  using Kept = typename Op::Kept;
  using Stash = StepStash<Element, Kept>;

 public:
  FlowPass(const Flow& flow, const FlowBlock& block)
      : flow_(flow),
        layout_(flow.layout),
        block_(block),
        scratch_(block.scratch),
        product_(block.n_rows),
        split_product_(block.n_rows) {}

  // The block's rows of a tensor into the state.
  void read(const float* in) {
    for (int64_t row = mine().begin; row < mine().end; ++row) {
      place(in + block_.at(row) * n_features(), state(row));
    }
    wait();
  }

  void write(float* out) const {
    for (int64_t row = mine().begin; row < mine().end; ++row) {
      const float* from = state(row);
      float* to = out + block_.at(row) * n_features();
      __builtin_memcpy(to, from, layout_.n_passing * 4);
      __builtin_memcpy(to + layout_.n_passing, from + layout_.passing_width, layout_.n_moving * 4);
    }
  }

  // The state through all steps; `stash` may be null.
  void forward(char* stash) {
    start_fetching(false);
    for (int64_t row = 0; row < block_.n_rows; ++row) sums(block_.rank)[row] = CompensatedSum();
    for (int64_t i = 0; i < flow_.n_steps; ++i) {
      if (!kDecode) mix(i);
      couple(i, of_step(stash, i));
      if (kDecode) mix(i);
    }
  }

  // The log-determinant of the couplings of a row, after `forward`; all threads of a team ask for
  // it behind a `wait`.
  double log_det(int64_t row) const {
    double total = 0.0;
    for (int64_t rank = 0; rank < block_.team_size; ++rank) {
      total += sums(rank)[row].reduce();
    }
    return kDecode ? -total : total;
  }

  // Gradients in the state, from those to the pass's result to those to its input.
  // `grad_log_det`: per row of the block, or null.
  void backward(char* stash, const float* grad_log_det) {
    start_fetching(true);
    for (int64_t i = flow_.n_steps - 1; i >= 0; --i) {
      if (kDecode) unmix(i);
      uncouple(i, of_step(stash, i), grad_log_det);
      if (!kDecode) unmix(i);
    }
  }

  void wait() const {
    if (block_.team_size > 1) block_.barrier(block_.team);
  }

  // The stash of this block's group in that of the batch, which may be null.
  char* of_group(char* stash) const {
    if (block_.own_stash) return block_.own_stash;
    return stash ? stash + block_.group_first * flow_.n_steps * step_bytes() : nullptr;
  }

  // The rows that this thread takes where rows are shared out.
  Range mine() const { return share(block_.n_rows); }

  float* state(int64_t row) const { return state_ + row * scratch_.state_stride; }

  // A row of F floats to its places in the state; the places between are zeros.
  void place(const float* in, float* to) const {
    const int64_t gap = layout_.passing_width - layout_.n_passing;
    __builtin_memcpy(to, in, layout_.n_passing * 4);
    __builtin_memset(to + layout_.n_passing, 0, gap * 4);
    __builtin_memcpy(to + layout_.passing_width, in + layout_.n_passing, layout_.n_moving * 4);
    __builtin_memset(to + layout_.passing_width + layout_.n_moving, 0,
                     (layout_.moving_width - layout_.n_moving) * 4);
  }

 private:
  int64_t n_features() const { return layout_.n_passing + layout_.n_moving; }

  Range share(int64_t n) const {
    return {n * block_.rank / block_.team_size, n * (block_.rank + 1) / block_.team_size};
  }

  // Per row, the sum of the log-scales that a thread has made.
  CompensatedSum* sums(int64_t rank) const {
    static_assert(sizeof(CompensatedSum) <= kSumBytes, "room for a sum");
    return reinterpret_cast<CompensatedSum*>(scratch_.sums + rank * scratch_.sums_bytes);
  }

  int64_t moving_stride() const {
    return layout_.layers[layout_.n_layers - 1].n_panels * kHalfPanel;
  }

  int64_t step_bytes() const { return stash_row_bytes(layout_, 1); }

  Stash of_step(char* stash, int64_t step) const {
    if (!stash) return Stash();
    const bool own = block_.own_stash != nullptr;
    const int64_t n_rows = own ? block_.n_rows : block_.group_rows;
    return {stash + step * step_bytes() * n_rows, n_rows, own ? 0 : block_.row, moving_stride()};
  }

  float* other_state() const { return scratch_.states[state_ == scratch_.states[0]]; }

  Element* operand(int i) const { return reinterpret_cast<Element*>(scratch_.operands[i]); }

  // The first `width` places of the state as the first operand of a product.
  template <Format kOperand>
  const typename Operand<kOperand>::Element* operand_of_state(int64_t width, int64_t* stride) {
    using Target = Operand<kOperand>;
    if constexpr (kOperand == Format::float32) {
      *stride = scratch_.state_stride;
      return state_;
    } else {
      *stride = scratch_.operand_bytes / sizeof(typename Target::Element);
      auto* rows = reinterpret_cast<typename Target::Element*>(scratch_.operands[0]);
      const int64_t plane = plane_of(kOperand, *stride);
      for (int64_t row = mine().begin; row < mine().end; ++row) {
        for (int64_t i = 0; i < width; i += kLanes) {
          Target::put(rows + row * *stride, plane, i, load(state(row) + i));
        }
      }
      wait();
      return rows;
    }
  }

  int64_t operand_stride() const { return scratch_.operand_bytes / sizeof(Element); }

  // The products of step i in the order of a forward pass: the coupling's layers and, behind them
  // in decode and before them in encode, a dense mixing.
  int64_t products_per_step() const {
    return layout_.n_layers + (flow_.steps[0].mixing != nullptr);
  }

  int64_t layer_index(int64_t layer) const {
    return layer + (!kDecode && flow_.steps[0].mixing != nullptr);
  }

  int64_t mixing_index() const { return kDecode ? layout_.n_layers : 0; }

  // Product `index` of step i.
  Part part(int64_t i, int64_t index, bool backward) const {
    const FlowStep& step = flow_.steps[i];
    Part result;
    if (step.mixing && index == mixing_index()) {
      result.layer = &layout_.mixing;
      result.weights = step.mixing + block_.group * layout_.mixing_bytes;
    } else {
      result.layer = &layout_.layers[index - layer_index(0)];
      result.weights = step.coupling + block_.group * layout_.coupling_bytes + result.layer->offset;
    }
    result.range = share(backward ? ceil_div(result.layer->n_in, kPanel) : result.layer->n_panels);
    return result;
  }

  // With fewer rows there is nothing to compute while weights come: the hardware's own prefetching
  // did better on a Xeon with AMX, but worse on an EPYC (Zen 4) without.
#ifdef DDS_AMX
  static constexpr int64_t kMinFetchRows = 4;
#else
  static constexpr int64_t kMinFetchRows = 1;
#endif

  // Sets the fetcher's pace to that at which a pass needs weights.
  void start_fetching(bool backward) {
    fetcher_ = Fetcher();
    fetching_ = block_.n_rows >= kMinFetchRows;
    queued_ = backward ? flow_.n_steps * products_per_step() - 1 : 0;
    int64_t bytes = 0, n_turns = 0;
    for (int64_t index = 0; index < products_per_step(); ++index) {
      const Part p = part(0, index, backward);
      const int64_t n_units = p.range.end - p.range.begin;
      bytes += p.layer->n_panels * p.layer->panel_bytes / block_.team_size;
      n_turns += n_units *
                 (backward ? product_.backward_turns(*p.layer) : product_.forward_turns(*p.layer));
    }
    if (fetching_ && n_turns > 0) fetcher_.set_pace(bytes, n_turns);
  }

  // Keeps the fetcher up to two products ahead of the one that starts.
  void fetch_ahead(int64_t i, int64_t index, bool backward) {
    if (!fetching_) return;
    const int64_t direction = backward ? -1 : 1;
    const int64_t now = i * products_per_step() + index;
    while (!fetcher_.idle() && (now - queued_) * direction >= (fetcher_.has_room() ? 0 : 1)) {
      fetcher_.skip();
    }
    if ((now - queued_) * direction > 0) queued_ = now;
    while (fetcher_.has_room() && (queued_ - now) * direction < 2) {
      queued_ += direction;
      if (queued_ < 0 || queued_ >= flow_.n_steps * products_per_step()) return;
      const Part p = part(queued_ / products_per_step(), queued_ % products_per_step(), backward);
      const Range range = backward ? Range{0, p.layer->n_panels} : p.range;
      fetcher_.queue(p.panel(range.begin), p.panel(range.end));
    }
  }

  template <class AnyProduct, class Element, class Epilogue>
  void multiply(const AnyProduct& product, const Element* a, int64_t stride, int64_t i,
                int64_t index, const Epilogue& epilogue) {
    fetch_ahead(i, index, false);
    product.forward(a, stride, part(i, index, false), fetcher_, scratch_.workspace, epilogue);
    wait();
  }

  template <class AnyProduct, class Element, class Epilogue>
  void multiply_transposed(const AnyProduct& product, const Element* a, int64_t stride, int64_t i,
                           int64_t index, const Epilogue& epilogue) {
    fetch_ahead(i, index, true);
    product.backward(a, stride, part(i, index, true), fetcher_, scratch_.workspace, epilogue);
    wait();
  }

  void couple(int64_t i, const Stash& stash) {
    const FlowStep& step = flow_.steps[i];
    int64_t stride;
    const Element* input = operand_of_state<kFormat>(layout_.passing_width, &stride);
    const int64_t last = layout_.n_layers - 1;
    for (int64_t layer = 0; layer < last; ++layer) {
      Element* target = operand((layer + 1) % 2);
      multiply(product_, input, stride, i, layer_index(layer),
               HiddenEpilogue<kFormat, Activation>{target, operand_stride(),
                                                   stash.hidden(layout_, layer),
                                                   Stash::hidden_stride(layout_, layer)});
      input = target;
      stride = operand_stride();
    }
    multiply(product_, input, stride, i, layer_index(last),
             AffineEpilogue<Kept, kDecode>{state_ + layout_.passing_width, scratch_.state_stride,
                                           stash.bounded(), stash.moved(), stash.moving_stride,
                                           layout_.n_moving, step.alpha[block_.group],
                                           step.beta[block_.group], sums(block_.rank)});
  }

  void uncouple(int64_t i, const Stash& stash, const float* grad_log_det) {
    const FlowStep& step = flow_.steps[i];
    const float alpha = step.alpha[block_.group], beta = step.beta[block_.group];
    const int64_t stride = operand_stride(), plane = plane_of(kFormat, stride);
    const int64_t last = layout_.n_layers - 1;
    for (int64_t row = mine().begin; row < mine().end; ++row) {
      affine_backward<kFormat, kDecode>(
          state(row) + layout_.passing_width, stash.bounded() + row * stash.moving_stride,
          stash.moved() + row * stash.moving_stride, alpha, beta,
          grad_log_det ? grad_log_det[row] : 0.0f, layout_.layers[last].n_panels,
          operand(0) + row * stride, plane);
    }
    wait();
    for (int64_t layer = last; layer > 0; --layer) {
      multiply_transposed(
          product_, operand((last - layer) % 2), stride, i, layer_index(layer),
          SlopeEpilogue<kFormat, Activation>{operand((last - layer + 1) % 2), stride,
                                             stash.hidden(layout_, layer - 1),
                                             Stash::hidden_stride(layout_, layer - 1)});
    }
    multiply_transposed(product_, operand(last % 2), stride, i, layer_index(0),
                        AddEpilogue{state_, scratch_.state_stride});
  }

  void mix(int64_t i) {
    const FlowStep& step = flow_.steps[i];
    if (step.permutation) {
      permute(step.permutation);
    } else if (step.mixing) {
      by_mixing_format([&](const auto& product, const auto* input, int64_t stride) {
        multiply(product, input, stride, i, mixing_index(),
                 StateEpilogue{other_state(), scratch_.state_stride});
      });
    }
  }

  void unmix(int64_t i) {
    const FlowStep& step = flow_.steps[i];
    if (step.permutation) {
      permute(step.adjoint);
    } else if (step.mixing) {
      by_mixing_format([&](const auto& product, const auto* input, int64_t stride) {
        multiply_transposed(product, input, stride, i, mixing_index(),
                            StateEpilogue{other_state(), scratch_.state_stride});
      });
    }
  }

  // A product of the state in the format of the mixing's weights makes the new state.
  template <class Multiply>
  void by_mixing_format(const Multiply& multiply) {
    int64_t stride;
    if (layout_.mixing_format == Format::float32) {
      const float* input = operand_of_state<Format::float32>(layout_.state_width, &stride);
      multiply(Product<Format::float32>(block_.n_rows), input, stride);
    } else if constexpr (kFormat != Format::float32) {
      const uint16_t* input = operand_of_state<Format::split>(layout_.state_width, &stride);
      multiply(split_product_, input, stride);
    }
    state_ = other_state();
  }

  void permute(const int32_t* permutation) {
    permutation += block_.group * layout_.state_width;
    float* target = other_state();
    for (int64_t row = mine().begin; row < mine().end; ++row) {
      const float* from = state(row);
      float* to = target + row * scratch_.state_stride;
      for (int64_t i = 0; i < layout_.state_width; i += kLanes) {
        store(to + i, gather(from, permutation + i));
      }
    }
    wait();
    state_ = target;
  }

  const Flow& flow_;
  const FlowLayout& layout_;
  const FlowBlock& block_;
  const FlowScratch& scratch_;
  const Product<kFormat> product_;
  // Of a split mixing; AMX's products are made once, as they hold the tiles' configuration.
  const Product<kFormat == Format::float32 ? Format::float32 : Format::split> split_product_;
  float* state_ = scratch_.states[0];
  Fetcher fetcher_;
  bool fetching_ = false;
  int64_t queued_ = 0;  // the last product that the fetcher was given
};

template <Format kFormat, class Activation, bool kDecode>
static void forward_block(const Flow& flow, const FlowBlock& block, const ForwardTensors& t) {
  FlowPass<kFormat, Activation, kDecode> pass(flow, block);
  pass.read(t.in);
  pass.forward(pass.of_group(t.stash));
  pass.write(t.out);
  for (int64_t row = pass.mine().begin; row < pass.mine().end; ++row) {
    t.log_det[block.at(row)] = static_cast<float>(pass.log_det(row));
  }
}

template <Format kFormat, class Activation, bool kDecode>
static void backward_block(const Flow& flow, const FlowBlock& block, const BackwardTensors& t) {
  FlowPass<kFormat, Activation, kDecode> pass(flow, block);
  float* grad_log_det = block.scratch.row_values;
  for (int64_t row = pass.mine().begin; t.grad_log_det && row < pass.mine().end; ++row) {
    grad_log_det[row] = t.grad_log_det[block.at(row)];
  }
  pass.read(t.grad_out);
  pass.backward(pass.of_group(const_cast<char*>(t.stash)), t.grad_log_det ? grad_log_det : nullptr);
  pass.write(t.grad_in);
}

// Adam on the moving latents of one row, and the sum of their squares afterwards.
static inline float move_latents(const LatentTensors& t, float pull, const float* gradient,
                                 float* z, float* m, float* v, int64_t n) {
  const Vec step_size = broadcast(t.step_size);
  Vec squares = {};
  for (int64_t i = 0; i < n; i += kLanes) {
    const int64_t left = n - i;
    Vec latent = load(z + i, left);
    const Vec grad = load(gradient + i, left) + latent * pull;
    const Vec first = adam_first(load(m + i, left), grad);
    const Vec second = adam_second(load(v + i, left), grad);
    latent -= step_size * first / adam_root(second, t.rms_correction);
    store(m + i, first, left);
    store(v + i, second, left);
    store(z + i, latent, left);
    squares += keep_first(latent * latent, left);
  }
  float total = 0.0f;
  for (int i = 0; i < kLanes; ++i) total += squares[i];
  return total;
}

template <Format kFormat, class Activation>
static void update_block(const Flow& flow, const FlowBlock& block, const LatentTensors& t) {
  FlowPass<kFormat, Activation, true> pass(flow, block);
  const int64_t n_features = flow.layout.n_passing + flow.layout.n_moving;
  const int64_t n_free = n_features - t.n_fixed;
  char* stash = pass.of_group(t.stash);
  if (block.own_stash) {
    pass.read(t.latents);
    pass.forward(stash);
    pass.wait();
  }

  float* grad_log_det = block.scratch.row_values;
  for (int64_t row = pass.mine().begin; row < pass.mine().end; ++row) {
    const int64_t index = block.at(row);
    const float* entry = t.entries + index * n_features;
    const bool weighted = t.row_weights != nullptr;
    const float* gradient =
        t.grad_entries + (weighted ? index - block.group * block.tensor_rows : index) * n_features;
    const float scale = weighted ? t.grad_scale * t.row_weights[index] : t.grad_scale;
    float* gated = block.scratch.row_buffer;
    for (int64_t i = 0; i < n_features; i += kLanes) {
      const int64_t left = n_features - i;
      const Vec grad = load(gradient + i, left) * scale;
      store(gated + i, load(entry + i, left) > 0.0f ? grad : Vec{}, left);
    }
    pass.place(gated, pass.state(row));
    grad_log_det[row] = -t.grad_log_likelihoods[index] / static_cast<float>(n_free);
  }
  pass.wait();
  pass.backward(stash, t.data_likelihood ? grad_log_det : nullptr);

  for (int64_t row = pass.mine().begin; row < pass.mine().end; ++row) {
    const int64_t index = block.at(row);
    const float* state = pass.state(row);
    float* gradient = block.scratch.row_buffer;
    __builtin_memcpy(gradient, state, flow.layout.n_passing * 4);
    __builtin_memcpy(gradient + flow.layout.n_passing, state + flow.layout.passing_width,
                     flow.layout.n_moving * 4);
    // d l / d z = -z / D
    const float pull = grad_log_det[row];
    float* z = t.latents + index * n_features;
    const float squares =
        move_latents(t, pull, gradient + t.n_fixed, z + t.n_fixed, t.first_moment + index * n_free,
                     t.second_moment + index * n_free, n_free);
    constexpr float kHalfLogTwoPi = 0.9189385332046727f;
    t.log_likelihoods[index] = -kHalfLogTwoPi - 0.5f * squares / static_cast<float>(n_free);
  }
  pass.wait();
  pass.read(t.latents);
  pass.forward(block.own_stash ? nullptr : stash);
  for (int64_t row = pass.mine().begin; row < pass.mine().end; ++row) {
    const int64_t index = block.at(row);
    const float* state = pass.state(row);
    float* entry = t.entries + index * n_features;
    for (int64_t i = 0; i < flow.layout.n_passing; i += kLanes) {
      store(entry + i, clipped(load(state + i)), flow.layout.n_passing - i);
    }
    entry += flow.layout.n_passing;
    state += flow.layout.passing_width;
    for (int64_t i = 0; i < flow.layout.n_moving; i += kLanes) {
      store(entry + i, clipped(load(state + i)), flow.layout.n_moving - i);
    }
    if (t.data_likelihood) {
      const double log_det = pass.log_det(row) + t.constants[block.group];
      t.log_likelihoods[index] -= static_cast<float>(log_det / static_cast<double>(n_free));
    }
  }
}

}  // namespace dds::DDS_LEVEL
