// The kernels of one instruction-set level; each cpu/kernels_<level>.cpp includes this once.
//
// No function of the standard library is called here: an inline one, compiled with this file's
// flags, could be the copy that the linker keeps for the whole module.
#pragma once

#include "dds/coupling_step.h"
#include "dds/elementwise.h"
#include "dds/packed_multiply.h"
#include "dds/simd.h"

namespace dds::DDS_LEVEL {

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Columns of half a panel that are not padding.
static inline int64_t valid_columns(int64_t panel, int64_t n_moving) {
  return smaller(kHalfPanel, n_moving - panel * kHalfPanel);
}

// ---- forward
// -------------------------------------------------------------------------------------

template <class Activation>
struct HiddenEpilogue {
  float* out;
  int64_t stride;
  int64_t width;

  void operator()(int64_t row, int64_t panel, const float* values) const {
    const int64_t count = smaller(kPanel, width - panel * kPanel);
    float* y = out + row * stride + panel * kPanel;
    for (int64_t i = 0; i < count; i += kLanes) {
      store(y + i, Activation::apply(load(values + i)), count - i);
    }
  }
};

// The affine map of the moving half, from a panel of raw log-scales and translations.
template <bool kDecode>
struct AffineEpilogue {
  const float* x;  // the moving half of the block's rows, as `out`
  float* out;
  int64_t stride;
  float* bounded;  // null: no stash
  float* scale;
  float* moved;
  int64_t n_moving;
  float alpha;
  float beta;
  CompensatedSum* log_scales;  // sum of s per row

  void operator()(int64_t row, int64_t panel, const float* values) const {
    const int64_t count = valid_columns(panel, n_moving);
    const int64_t in_row = row * stride + panel * kHalfPanel;
    const int64_t in_stash = row * n_moving + panel * kHalfPanel;
    constexpr int kVectors = kHalfPanel / kLanes;
    Vec t[kVectors], s[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      t[v] = tanh(load(values + v * kLanes));
      s[v] = t[v] * alpha + beta;
    }
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const int64_t i = v * kLanes, n = count - i;
      if (n <= 0) break;
      const Vec factor = exp(kDecode ? -s[v] : s[v]);
      const Vec translation = load(values + kHalfPanel + i);
      const Vec input = load(x + in_row + i, n);
      const Vec result = kDecode ? (input - translation) * factor : input * factor + translation;
      store(out + in_row + i, result, n);
      log_scales[row].add(keep_first(s[v], n));
      if (bounded) {
        store(bounded + in_stash + i, t[v], n);
        store(scale + in_stash + i, factor, n);
        if (kDecode) store(moved + in_stash + i, result, n);
      }
    }
  }
};

template <class Activation, bool kDecode>
static void forward_block(const Coupling& c, const ForwardTensors& t, int64_t group, int64_t row,
                          int64_t count, float* scratch) {
  const int64_t n_features = c.n_passing + c.n_moving;
  const int64_t first = group * c.rows + row;
  const float* packed = c.packed + group * c.packed_size;
  const float* x = t.x + first * n_features;
  float* out = t.out + first * n_features;

  const float* input = x;
  int64_t stride = n_features;
  for (int64_t i = 0; i + 1 < c.n_layers; ++i) {
    const PackedLayer& layer = c.layers[i];
    float* hidden = t.hidden ? t.hidden[i] + first * layer.n_out
                             : scratch + (i % 2) * c.scratch_rows * c.scratch_stride;
    const int64_t hidden_stride = t.hidden ? layer.n_out : c.scratch_stride;
    multiply<true>(input, stride, count, layer, packed,
                   HiddenEpilogue<Activation>{hidden, hidden_stride, layer.n_out});
    input = hidden;
    stride = hidden_stride;
  }

  CompensatedSum log_scales[kMaxRowBlock];
  const int64_t in_stash = first * c.n_moving;
  const bool keep = t.bounded != nullptr;
  multiply<true>(input, stride, count, c.layers[c.n_layers - 1], packed,
                 AffineEpilogue<kDecode>{x + c.n_passing, out + c.n_passing, n_features,
                                         keep ? t.bounded + in_stash : nullptr,
                                         keep ? t.scale + in_stash : nullptr,
                                         keep && kDecode ? t.moved + in_stash : nullptr, c.n_moving,
                                         c.alpha[group], c.beta[group], log_scales});
  for (int64_t i = 0; i < count; ++i) {
    const double total = log_scales[i].reduce();
    t.log_det[first + i] = static_cast<float>(kDecode ? -total : total);
    for (int64_t k = 0; k < c.n_passing; k += kLanes) {
      const int64_t n = c.n_passing - k;
      store(out + i * n_features + k, load(x + i * n_features + k, n), n);
    }
  }
}

// ---- backward
// ------------------------------------------------------------------------------------

// Through the affine map: the moving half of grad_x, and [grad raw | grad translation] per row.
template <bool kDecode>
static void affine_backward(const Coupling& c, const BackwardTensors& t, int64_t group, int64_t row,
                            int64_t count, float* grad_mlp) {
  const float alpha = c.alpha[group];
  for (int64_t r = row; r < row + count; ++r, grad_mlp += c.scratch_stride) {
    const int64_t index = group * c.rows + r;
    const int64_t in_row = index * (c.n_passing + c.n_moving) + c.n_passing;
    const float* moved = t.moved + group * t.moved_group_stride + r * t.moved_row_stride;
    const float grad_log_det =
        !t.grad_log_det ? 0.0f : (kDecode ? -t.grad_log_det[index] : t.grad_log_det[index]);
    for (int64_t i = 0; i < c.n_moving; i += kLanes) {
      const int64_t n = c.n_moving - i;
      const Vec grad = load(t.grad_out + in_row + i, n);
      const Vec scaled = grad * load(t.scale + index * c.n_moving + i, n);
      const Vec bounded = load(t.bounded + index * c.n_moving + i, n);
      const Vec through_scale = kDecode ? -grad * load(moved + i, n) : scaled * load(moved + i, n);
      const Vec grad_s = through_scale + grad_log_det;
      store(t.grad_x + in_row + i, scaled, n);
      store(grad_mlp + i, grad_s * alpha * (1.0f - bounded * bounded), n);
      store(grad_mlp + c.n_moving + i, kDecode ? -scaled : grad, n);
    }
  }
}

template <class Activation>
struct SlopeEpilogue {
  const float* hidden;  // outputs of the layer's activation
  float* grad;
  int64_t stride;
  int64_t width;

  void operator()(int64_t row, int64_t panel, const float* values) const {
    const int64_t count = smaller(kPanel, width - panel * kPanel);
    const float* y = hidden + row * width + panel * kPanel;
    float* g = grad + row * stride + panel * kPanel;
    for (int64_t i = 0; i < count; i += kLanes) {
      store(g + i, load(values + i) * Activation::slope(load(y + i, count - i)), count - i);
    }
  }
};

struct PassingEpilogue {
  const float* grad_out;
  float* grad_x;
  int64_t stride;
  int64_t width;

  void operator()(int64_t row, int64_t panel, const float* values) const {
    const int64_t count = smaller(kPanel, width - panel * kPanel);
    const int64_t at = row * stride + panel * kPanel;
    for (int64_t i = 0; i < count; i += kLanes) {
      store(grad_x + at + i, load(values + i) + load(grad_out + at + i, count - i), count - i);
    }
  }
};

template <class Activation, bool kDecode>
static void backward_block(const Coupling& c, const BackwardTensors& t, int64_t group, int64_t row,
                           int64_t count, float* scratch) {
  const int64_t n_features = c.n_passing + c.n_moving;
  const int64_t first = group * c.rows + row;
  const float* packed = c.packed + group * c.packed_size;
  float* buffers[2] = {scratch, scratch + c.scratch_rows * c.scratch_stride};

  affine_backward<kDecode>(c, t, group, row, count, buffers[0]);
  for (int64_t i = 0; i + 1 < c.n_layers; ++i) {
    const PackedLayer& layer = c.layers[i];
    const float* hidden = t.hidden[c.n_layers - 2 - i] + first * layer.n_out;
    multiply<false>(
        buffers[i % 2], c.scratch_stride, count, layer, packed,
        SlopeEpilogue<Activation>{hidden, buffers[(i + 1) % 2], c.scratch_stride, layer.n_out});
  }
  multiply<false>(buffers[(c.n_layers - 1) % 2], c.scratch_stride, count, c.layers[c.n_layers - 1],
                  packed,
                  PassingEpilogue{t.grad_out + first * n_features, t.grad_x + first * n_features,
                                  n_features, c.n_passing});
}

// ---- the level's table
// ---------------------------------------------------------------------------

static void forward(const Coupling& c, const ForwardTensors& t, int64_t group, int64_t row,
                    int64_t count, float* scratch) {
  const bool decode = c.direction == Direction::decode;
  if (c.activation == Activation::selu) {
    (decode ? forward_block<Selu, true> : forward_block<Selu, false>)(c, t, group, row, count,
                                                                      scratch);
  } else {
    (decode ? forward_block<LeakyRelu, true> : forward_block<LeakyRelu, false>)(c, t, group, row,
                                                                                count, scratch);
  }
}

static void backward(const Coupling& c, const BackwardTensors& t, int64_t group, int64_t row,
                     int64_t count, float* scratch) {
  const bool decode = c.direction == Direction::decode;
  if (c.activation == Activation::selu) {
    (decode ? backward_block<Selu, true> : backward_block<Selu, false>)(c, t, group, row, count,
                                                                        scratch);
  } else {
    (decode ? backward_block<LeakyRelu, true> : backward_block<LeakyRelu, false>)(c, t, group, row,
                                                                                  count, scratch);
  }
}

template <Vec (*kFunction)(Vec)>
static void map(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) store(y + i, kFunction(load(x + i, n - i)), n - i);
}

static constexpr Kernels kKernels = {forward, backward, map<exp>, map<expm1_negative>, map<tanh>};

}  // namespace dds::DDS_LEVEL
