// A flow bank, as one block runs it: all steps of one flow on one block of rows.
//
// The state (features x rows) lies in the shared memory of every CTA of the cluster. Permutations
// move nothing: a record per step says where each feature stands. A product's columns are shared
// out among the CTAs; each writes what it has made to all of them, and they meet.
//
// Between products a thread holds pairs: two adjacent columns (or features) of the row `lane % 8`
// of each tile of rows. Pairs of a warp are `lane / 8` behind each other.
#pragma once

#include "bank_arguments.h"
#include "bank_product.h"
#include "chunk_ring.h"
#include "machine.h"

namespace dds {

template <class Machine, Precision kPrecision>
class BankProgram {
 public:
  DDS_DEVICE BankProgram(Machine& machine, const BankArguments& arguments)
      : m_(machine),
        a_(arguments),
        plan_(arguments.plan),
        shape_(arguments.plan.shape),
        ring_(machine, arguments.plan),
        thread_(machine.thread()),
        warp_(machine.thread() / 32),
        lane_(machine.thread() % 32),
        rank_(machine.rank()),
        peer_(arguments.plan.shape.n_ctas > 1 ? machine.peer(1 - machine.rank()) : nullptr),
        decode_(arguments.direction == Direction::decode),
        group_(arguments.groups ? arguments.groups[machine.block()] : machine.block()),
        first_tile_(machine.row_block() * arguments.plan.row_tiles),
        n_tiles_(min_of(arguments.plan.row_tiles, arguments.plan.stash_tiles - first_tile_)) {}

  DDS_DEVICE void forward() {
    const ForwardTensors& t = a_.forward;
    queue_forward();
    start();
    load_record(0);
    read_state(nullptr, [&](int row, int feature) { return t.in[element(row, feature)]; });
    m_.meet();
    forward_steps();
    const float log_det = row_total(log_det_) + a_.constants[group_];
    if (rank_ == 0 && thread_ < n_rows()) t.log_det[at_row(thread_)] = log_det;
    const uint16_t* places = this->places();
    for_own_features([&](int feature, int row, int) {
      t.out[element(row, feature)] = state()[places[feature] * plan_.row_stride + row];
    });
  }

  DDS_DEVICE void backward() {
    const BackwardTensors& t = a_.backward;
    queue_backward();
    start();
    load_record(shape_.n_steps);
    for (int row = thread_; row < kRowTile * kMaxRowTiles; row += kBankThreads) {
      row_values()[row] = t.grad_log_det && row < n_rows() ? t.grad_log_det[at_row(row)] : 0.0f;
    }
    m_.sync();
    read_state(places(), [&](int row, int feature) { return t.grad_out[element(row, feature)]; });
    m_.meet();
    backward_steps();
    for_own_features([&](int feature, int row, int) {
      t.grad_in[element(row, feature)] = state()[feature * plan_.row_stride + row];
    });
  }

  // Backward, Adam on the latents and the next decode, of one flow back to back.
  DDS_DEVICE void update() {
    const BankUpdateTensors& t = a_.update;
    if (t.stopped && *t.stopped) return;
    const int n_free = shape_.n_features() - t.n_fixed;
    queue_backward();
    queue_forward();
    start();
    load_record(shape_.n_steps);
    for (int row = thread_; row < kRowTile * kMaxRowTiles; row += kBankThreads) {
      // d l / d z = -z / D, and - log_det / D with the data likelihood
      const float gradient = row < n_rows() ? t.grad_log_likelihoods[at_row(row)] : 0.0f;
      row_values()[row] = -gradient / static_cast<float>(n_free);
    }
    m_.sync();
    const float scale = t.scalars[0];
    read_state(places(), [&](int row, int feature) {
      const bool weighted = t.row_weights != nullptr;
      const int64_t from =
          weighted
              ? static_cast<int64_t>(first_tile_ * kRowTile + row) * shape_.n_features() + feature
              : element(row, feature);
      const float gradient =
          t.grad_entries[from] * (weighted ? scale * t.row_weights[at_row(row)] : scale);
      return t.entries[element(row, feature)] > 0.0f ? gradient : 0.0f;
    });
    m_.meet();
    with_log_det_ = t.data_likelihood;
    backward_steps();

    move_latents(n_free);
    const float squares = row_total(squares_);
    forward_steps();
    const float log_det = row_total(log_det_);
    if (rank_ == 0 && thread_ < n_rows()) {
      constexpr float kHalfLogTwoPi = 0.9189385332046727f;
      float value = -kHalfLogTwoPi - 0.5f * squares / static_cast<float>(n_free);
      if (t.data_likelihood) {
        value -= (log_det + a_.constants[group_]) / static_cast<float>(n_free);
      }
      t.log_likelihoods[at_row(thread_)] = value;
    }
    const uint16_t* places = this->places();
    for_own_features([&](int feature, int row, int) {
      t.entries[element(row, feature)] =
          scalar::clipped(state()[places[feature] * plan_.row_stride + row]);
    });
  }

 private:
  static constexpr bool kBfloat16 = kPrecision == Precision::bfloat16;

  DDS_DEVICE static int min_of(int a, int b) { return a < b ? a : b; }

  // ---- where things are ---------------------------------------------------------------------

  DDS_DEVICE float* state() const { return reinterpret_cast<float*>(m_.shared() + plan_.state); }
  DDS_DEVICE float* partials() const {
    return reinterpret_cast<float*>(m_.shared() + plan_.partials);
  }
  DDS_DEVICE float* row_values() const {
    return reinterpret_cast<float*>(m_.shared() + plan_.row_values);
  }
  DDS_DEVICE int operand_offset(int i) const {
    return i & 1 ? plan_.operands[1] : plan_.operands[0];
  }
  DDS_DEVICE const uint32_t* operand(int i) const {
    return reinterpret_cast<const uint32_t*>(m_.shared() + operand_offset(i));
  }
  DDS_DEVICE char* record(int which) const {
    return m_.shared() + (which ? plan_.records[1] : plan_.records[0]);
  }
  DDS_DEVICE const uint16_t* places() const {
    return reinterpret_cast<const uint16_t*>(record(record_));
  }
  DDS_DEVICE const StepScales& scales() const {
    return *reinterpret_cast<const StepScales*>(
        record(record_) + record_bytes(shape_.n_features()) - sizeof(StepScales));
  }

  // Rows of this block that exist; the others are zeros.
  DDS_DEVICE int n_rows() const {
    return min_of(plan_.n_rows - first_tile_ * kRowTile, n_tiles_ * kRowTile);
  }
  DDS_DEVICE int64_t at_row(int row) const {
    return static_cast<int64_t>(m_.block()) * plan_.n_rows + first_tile_ * kRowTile + row;
  }
  DDS_DEVICE int64_t element(int row, int feature) const {
    return at_row(row) * shape_.n_features() + feature;
  }

  // ---- pairs --------------------------------------------------------------------------------

  DDS_DEVICE int row_of(int tile) const { return tile * kRowTile + lane_ % kRowTile; }
  DDS_DEVICE int member() const { return lane_ / kRowTile; }

  // Unrolled: `j` may index registers.
  template <class Function>
  DDS_DEVICE void for_row_tiles(const Function& function) const {
    DDS_UNROLL
    for (int j = 0; j < kMaxRowTiles; ++j) {
      if (j < n_tiles_) function(row_of(j), j);
    }
  }

  template <class Function>
  DDS_DEVICE void for_rows(const Function& function) const {
    for (int j = 0; j < n_tiles_; ++j) function(row_of(j), j);
  }

  // The features that this CTA reads from or writes to memory, for the rows that exist.
  template <class Function>
  DDS_DEVICE void for_own_features(const Function& function) const {
    const int n_pairs = (shape_.n_features() + 1) / 2;
    for (int pair = (rank_ * kBankWarps + warp_) * 4 + member(); pair < n_pairs;
         pair += shape_.n_ctas * kBankWarps * 4) {
      for_row_tiles([&](int row, int j) {
        if (row >= n_rows()) return;
        function(2 * pair, row, j);
        if (2 * pair + 1 < shape_.n_features()) function(2 * pair + 1, row, j);
      });
    }
  }

  // All features, in every CTA; rows that do not exist are zeros. The CTAs must meet before one
  // writes to the others' state.
  template <class Value>
  DDS_DEVICE void read_state(const uint16_t* places, const Value& value) const {
    for (int feature = 2 * (warp_ * 4 + member()); feature < shape_.n_features();
         feature += 2 * kBankWarps * 4) {
      for (int i = feature; i < feature + 2 && i < shape_.n_features(); ++i) {
        const int place = places ? places[i] : i;
        for_rows([&](int row, int) {
          state()[place * plan_.row_stride + row] = row < n_rows() ? value(row, i) : 0.0f;
        });
      }
    }
  }

  // ---- writing to all CTAs of the cluster ---------------------------------------------------

  template <class Write>
  DDS_DEVICE void in_every_cta(const Write& write) const {
    write(m_.shared());
    if (peer_) write(peer_);
  }

  DDS_DEVICE void put_state(int place, int row, float value) const {
    in_every_cta([&](char* shared) {
      reinterpret_cast<float*>(shared + plan_.state)[place * plan_.row_stride + row] = value;
    });
  }

  // The inputs 2 pair and 2 pair + 1 of a product, of one row.
  DDS_DEVICE void store_operand(char* shared, int which, int pair, int row, float first,
                                float second) const {
    uint32_t* words = reinterpret_cast<uint32_t*>(shared + operand_offset(which)) + row;
    if constexpr (kBfloat16) {
      words[pair * plan_.row_stride] = scalar::bfloat16_pair(first, second);
    } else {
      const bool round = kPrecision == Precision::tf32;
      words[2 * pair * plan_.row_stride] =
          scalar::bits(round ? scalar::round_to_tf32(first) : first);
      words[(2 * pair + 1) * plan_.row_stride] =
          scalar::bits(round ? scalar::round_to_tf32(second) : second);
    }
  }

  DDS_DEVICE void put_operand(int which, int pair, int row, float first, float second) const {
    in_every_cta([&](char* shared) { store_operand(shared, which, pair, row, first, second); });
  }

  // ---- the stash ----------------------------------------------------------------------------

  // Of the pair block `block` of step i (in the order of the forward pass) and tile j.
  DDS_DEVICE int64_t stash_index(int i, int block, int j) const {
    const int64_t step = static_cast<int64_t>(m_.block()) * shape_.n_steps + i;
    return ((step * plan_.stash_blocks + block) * plan_.stash_tiles + first_tile_ + j) * 32 + lane_;
  }

  DDS_DEVICE void keep(int i, int block, int j, float first, float second) const {
    if (!a_.stash) return;
    if constexpr (kBfloat16) {
      reinterpret_cast<uint32_t*>(a_.stash)[stash_index(i, block, j)] =
          scalar::bfloat16_pair(first, second);
    } else {
      reinterpret_cast<Float2*>(a_.stash)[stash_index(i, block, j)] = {first, second};
    }
  }

  DDS_DEVICE Float2 kept(int i, int block, int j) const {
    if constexpr (kBfloat16) {
      const uint32_t word = reinterpret_cast<const uint32_t*>(a_.stash)[stash_index(i, block, j)];
      return {scalar::from_bfloat16(word & 0xffffu), scalar::from_bfloat16(word >> 16)};
    } else {
      return reinterpret_cast<const Float2*>(a_.stash)[stash_index(i, block, j)];
    }
  }

  // Moves this CTA's part of a step's stash towards the chip.
  DDS_DEVICE void prefetch_stash(int i) const {
    if (i < 0 || thread_ >= shape_.n_layers) return;
    const bool last = thread_ == shape_.n_layers - 1;
    const int n_blocks = shape_.forward[thread_].n_panels * kBankWarps;
    const int first = (last ? plan_.affine_block : plan_.hidden_block[thread_]) + rank_ * n_blocks;
    const int64_t pair_bytes = kBfloat16 ? 4 : 8;
    const int64_t step = static_cast<int64_t>(m_.block()) * shape_.n_steps + i;
    const int64_t row_bytes = plan_.stash_tiles * 32 * pair_bytes;
    m_.prefetch(a_.stash + (step * plan_.stash_blocks + first) * row_bytes,
                static_cast<uint32_t>(n_blocks * row_bytes));
  }

  // ---- records of the steps -----------------------------------------------------------------

  static constexpr int kRecordWords = 2;  // of 16 bytes, per thread
  static_assert(record_bytes(kMaxFeatures) <= kRecordWords * kBankThreads * 16,
                "room for a record");

  DDS_DEVICE const Word4* record_in_memory(int i) const {
    const int64_t index = group_ * (shape_.n_steps + 1) + i;
    return reinterpret_cast<const Word4*>(a_.records + index * record_bytes(shape_.n_features()));
  }

  DDS_DEVICE void load_record(int i) const {
    const int n = static_cast<int>(record_bytes(shape_.n_features()) / 16);
    for (int word = thread_; word < n; word += kBankThreads) {
      reinterpret_cast<Word4*>(record(record_))[word] = record_in_memory(i)[word];
    }
  }

  // In two parts: the memory answers while a step is computed.
  DDS_DEVICE void ask_for_record(int i) {
    const int n = static_cast<int>(record_bytes(shape_.n_features()) / 16);
    DDS_UNROLL
    for (int k = 0; k < kRecordWords; ++k) {
      const int word = thread_ + k * kBankThreads;
      if (word < n) next_record_[k] = record_in_memory(i)[word];
    }
  }

  DDS_DEVICE void store_asked_record() {
    const int n = static_cast<int>(record_bytes(shape_.n_features()) / 16);
    DDS_UNROLL
    for (int k = 0; k < kRecordWords; ++k) {
      const int word = thread_ + k * kBankThreads;
      if (word < n) reinterpret_cast<Word4*>(record(record_ ^ 1))[word] = next_record_[k];
    }
  }

  // ---- the stream of weights ----------------------------------------------------------------

  DDS_DEVICE void queue(const char* weights, int n_chunks, bool last_step_first) {
    const int64_t cta_bytes = static_cast<int64_t>(n_chunks) * kChunkBytes;
    const int64_t step_bytes = cta_bytes * shape_.n_ctas;
    const int64_t first = group_ * shape_.n_steps + (last_step_first ? shape_.n_steps - 1 : 0);
    ring_.queue(weights + first * step_bytes + rank_ * cta_bytes,
                last_step_first ? -step_bytes : step_bytes, n_chunks, shape_.n_steps);
  }

  // Steps lie in the order of encode.
  DDS_DEVICE void queue_forward() { queue(a_.weights, shape_.forward_chunks, decode_); }
  DDS_DEVICE void queue_backward() { queue(a_.transposed, shape_.backward_chunks, !decode_); }

  DDS_DEVICE void start() {
    m_.make_barriers(reinterpret_cast<uint64_t*>(m_.shared() + plan_.barriers), plan_.n_stages);
    m_.meet();
    ring_.start();
  }

  // ---- products -----------------------------------------------------------------------------

  // All panels of this CTA. `prepare(block, j)` is asked before the product for what
  // `finish(pair, block, row, j, prepared, first, second)` needs after it.
  template <class Prepare, class Finish>
  DDS_DEVICE void multiply(const BankLayer& layer, const uint32_t* operand, const Prepare& prepare,
                           const Finish& finish) {
    constexpr int kInputs = chunk_inputs(kPrecision);
    constexpr int kWordsPerInputPair = kBfloat16 ? 1 : 2;
    for (int panel = 0; panel < layer.n_panels; ++panel) {
      const int block = (rank_ * layer.n_panels + panel) * kBankWarps + warp_;
      Float2 prepared[kMaxRowTiles] = {};
      for_row_tiles([&](int, int j) { prepared[j] = prepare(block, j); });
      Product<Machine, kPrecision> product(m_, plan_, n_tiles_);
      Float2 bias = {0.0f, 0.0f};
      for (int first = 0; first < layer.n_in; first += kInputs) {
        const char* chunk = ring_.acquire();
        const int left = layer.n_in - first;
        product.add(chunk, operand + first / 2 * kWordsPerInputPair * plan_.row_stride,
                    min_of(left, kInputs));
        bias = reinterpret_cast<const Float2*>(chunk + kWeightBytes)[warp_ * 4 + member()];
        m_.sync();
        ring_.release();
      }
      product.write(partials());
      m_.sync();
      const float* sums = partials() + 2 * (warp_ * 4 + member()) * plan_.partial_stride;
      Float2 values[kMaxRowTiles] = {};
      for_row_tiles([&](int, int j) { values[j] = bias; });
      DDS_UNROLL_1
      for (int split = 0; split < plan_.n_splits; ++split) {
        for_row_tiles([&](int row, int j) {
          values[j].x += sums[row];
          values[j].y += sums[plan_.partial_stride + row];
        });
        sums += kPanelColumns * plan_.partial_stride;
      }
      for_row_tiles([&](int row, int j) {
        finish(4 * block + member(), block, row, j, prepared[j], values[j].x, values[j].y);
      });
    }
  }

  DDS_DEVICE float activate(float x) const {
    return a_.activation == Activation::selu ? scalar::selu(x) : scalar::leaky_relu(x);
  }
  DDS_DEVICE float slope(float y) const {
    return a_.activation == Activation::selu ? scalar::selu_slope(y) : scalar::leaky_relu_slope(y);
  }

  // ---- passes -------------------------------------------------------------------------------

  DDS_DEVICE void forward_steps() {
    DDS_UNROLL
    for (int j = 0; j < kMaxRowTiles; ++j) log_det_[j] = 0.0f;
    const auto nothing = [](int, int) { return Float2{0.0f, 0.0f}; };
    const int last = shape_.n_layers - 1;
    for (int i = 0; i < shape_.n_steps; ++i) {
      ask_for_record(i + 1);
      gather_passing();
      m_.sync();
      for (int layer = 0; layer < last; ++layer) {
        multiply(shape_.forward[layer], operand(layer), nothing,
                 [&](int pair, int block, int row, int j, Float2, float first, float second) {
                   first = activate(first);
                   second = activate(second);
                   keep(i, plan_.hidden_block[layer] + block, j, first, second);
                   put_operand(layer + 1, pair, row, first, second);
                 });
        m_.meet();
      }
      const uint16_t* places = this->places() + shape_.n_passing;
      const float alpha = scales().alpha, beta = scales().beta;
      multiply(shape_.forward[last], operand(last), nothing,
               [&](int feature, int block, int row, int j, Float2, float raw, float translation) {
                 if (feature >= shape_.n_moving) return;
                 const int place = places[feature];
                 const float input = state()[place * plan_.row_stride + row];
                 const scalar::Affine a =
                     scalar::affine(decode_, input, raw, translation, alpha, beta);
                 keep(i, plan_.affine_block + block, j, a.bounded, decode_ ? a.result : input);
                 put_state(place, row, a.result);
                 log_det_[j] += decode_ ? -a.log_scale : a.log_scale;
               });
      store_asked_record();
      m_.meet();
      record_ ^= 1;
    }
  }

  // The passing half of the state as inputs of the first product, in every CTA by itself.
  DDS_DEVICE void gather_passing() const {
    const uint16_t* places = this->places();
    for (int pair = warp_ * 4 + member(); pair < shape_.forward[0].n_in / 2;
         pair += kBankWarps * 4) {
      const bool with_first = 2 * pair < shape_.n_passing;
      const bool with_second = 2 * pair + 1 < shape_.n_passing;
      const int first = with_first ? places[2 * pair] : 0;
      const int second = with_second ? places[2 * pair + 1] : 0;
      for_rows([&](int row, int) {
        store_operand(m_.shared(), 0, pair, row,
                      with_first ? state()[first * plan_.row_stride + row] : 0.0f,
                      with_second ? state()[second * plan_.row_stride + row] : 0.0f);
      });
    }
  }

  // From the gradient to the pass's result, at the places of the result, to that of its input,
  // whose features stand in their own order.
  DDS_DEVICE void backward_steps() {
    prefetch_stash(shape_.n_steps - 1);
    const int last = shape_.n_layers - 1;
    ask_for_record(shape_.n_steps - 1);
    store_asked_record();
    m_.sync();
    record_ ^= 1;
    for (int i = shape_.n_steps - 1; i >= 0; --i) {
      if (i > 0) ask_for_record(i - 1);
      prefetch_stash(i - 1);
      uncouple(i);
      m_.meet();
      for (int layer = 0; layer < last; ++layer) {
        const int hidden = plan_.hidden_block[last - 1 - layer];
        multiply(
            shape_.backward[layer], operand(layer),
            [&](int block, int j) { return kept(i, hidden + block, j); },
            [&](int pair, int, int row, int, Float2 y, float first, float second) {
              put_operand(layer + 1, pair, row, first * slope(y.x), second * slope(y.y));
            });
        m_.meet();
      }
      multiply(
          shape_.backward[last], operand(last), [](int, int) { return Float2{0.0f, 0.0f}; },
          [&](int pair, int, int row, int, Float2, float first, float second) {
            add_to_passing(2 * pair, row, first);
            add_to_passing(2 * pair + 1, row, second);
          });
      if (i > 0) store_asked_record();
      m_.meet();
      if (i > 0) record_ ^= 1;
    }
  }

  DDS_DEVICE void add_to_passing(int feature, int row, float gradient) const {
    if (feature >= shape_.n_passing) return;
    const int place = places()[feature];
    put_state(place, row, state()[place * plan_.row_stride + row] + gradient);
  }

  // Through the affine map of step i: this CTA's moving features.
  DDS_DEVICE void uncouple(int i) const {
    const uint16_t* places = this->places() + shape_.n_passing;
    const float alpha = scales().alpha, beta = scales().beta;
    const int n_blocks = shape_.forward[shape_.n_layers - 1].n_panels * kBankWarps;
    for (int b = warp_; b < n_blocks; b += kBankWarps) {
      const int block = rank_ * n_blocks + b;
      const int feature = 4 * block + member();
      const bool present = feature < shape_.n_moving;
      const int place = present ? places[feature] : 0;
      for_rows([&](int row, int j) {
        if (!present) return put_operand(0, feature, row, 0.0f, 0.0f);
        const Float2 stashed = kept(i, plan_.affine_block + block, j);
        const scalar::AffineGradient gradient = scalar::affine_backward(
            decode_, state()[place * plan_.row_stride + row], stashed.x, stashed.y, alpha, beta,
            with_log_det_ ? row_values()[row] : 0.0f);
        put_state(place, row, gradient.input);
        put_operand(0, feature, row, gradient.raw, gradient.translation);
      });
    }
  }

  // Adam on this CTA's share of the latents, whose gradient is in the state; the new latents take
  // its place.
  DDS_DEVICE void move_latents(int n_free) {
    const BankUpdateTensors& t = a_.update;
    const float step_size = t.scalars[1], rms_correction = t.scalars[2];
    DDS_UNROLL
    for (int j = 0; j < kMaxRowTiles; ++j) squares_[j] = 0.0f;
    for_own_features([&](int feature, int row, int j) {
      float* latent = t.latents + element(row, feature);
      float z = *latent;
      if (feature >= t.n_fixed) {
        const int64_t moment = at_row(row) * n_free + feature - t.n_fixed;
        const float gradient =
            fmaf(z, row_values()[row], state()[feature * plan_.row_stride + row]);
        const float first = scalar::adam_first(t.first_moment[moment], gradient);
        const float second = scalar::adam_second(t.second_moment[moment], gradient);
        z = scalar::adam_step(z, first, second, step_size, rms_correction);
        t.first_moment[moment] = first;
        t.second_moment[moment] = second;
        *latent = z;
        squares_[j] = fmaf(z, z, squares_[j]);
      }
      put_state(feature, row, z);
    });
  }

  // ---- sums over features -------------------------------------------------------------------

  // Thread `row` gets the sum of what all threads of all CTAs hold for that row.
  DDS_DEVICE float row_total(const float (&values)[kMaxRowTiles]) const {
    constexpr int kRows = kRowTile * kMaxRowTiles;
    float* sums = partials();
    for_row_tiles([&](int row, int j) {
      float value = values[j];
      value += m_.shuffle_xor(value, 8);
      value += m_.shuffle_xor(value, 16);
      if (member() == 0) sums[warp_ * kRows + row] = value;
    });
    m_.sync();
    const int n = n_tiles_ * kRowTile;
    if (thread_ < n) {
      float value = 0.0f;
      for (int warp = 0; warp < kBankWarps; ++warp) value += sums[warp * kRows + thread_];
      in_every_cta([&](char* shared) {
        reinterpret_cast<float*>(shared + plan_.partials)[(kBankWarps + rank_) * kRows + thread_] =
            value;
      });
    }
    m_.meet();
    float total = 0.0f;
    if (thread_ < n) {
      for (int cta = 0; cta < shape_.n_ctas; ++cta) {
        total += sums[(kBankWarps + cta) * kRows + thread_];
      }
    }
    return total;
  }

  Machine& m_;
  const BankArguments& a_;
  const BankPlan& plan_;
  const BankShape& shape_;
  ChunkRing<Machine> ring_;
  const int thread_, warp_, lane_, rank_;
  char* const peer_;  // shared memory of the other CTA of the cluster; null: there is none
  const bool decode_;
  const int64_t group_;
  const int first_tile_, n_tiles_;  // of rows
  int record_ = 0;                  // which of the two records is that of the step
  bool with_log_det_ = true;
  float log_det_[kMaxRowTiles];
  float squares_[kMaxRowTiles];
  Word4 next_record_[kRecordWords];
};

}  // namespace dds
