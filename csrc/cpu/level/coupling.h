// What stands between the products of a coupling: activations, the affine map, and their gradients.
#pragma once

#include "cpu/packed_weights.h"
#include "elementwise.h"
#include "operand.h"
#include "product.h"

namespace dds::DDS_LEVEL {

template <Format kFormat, class Activation>
struct HiddenEpilogue {
  using Op = Operand<kFormat>;
  typename Op::Element* out;
  int64_t stride;
  typename Op::Element* kept;  // null: no stash
  int64_t kept_stride;

  void operator()(int64_t row, int64_t panel, const float* values) const {
    auto* y = out + row * stride;
    auto* copy = kept + row * kept_stride;
#pragma GCC unroll 4
    for (int64_t i = 0; i < kPanel; i += kLanes) {
      const Vec activated = Activation::apply(load(values + i));
      Op::put(y, plane_of(kFormat, stride), panel * kPanel + i, activated);
      if (kept) Op::put(copy, plane_of(kFormat, kept_stride), panel * kPanel + i, activated);
    }
  }
};

// The affine map of the moving half, from a panel of raw log-scales and translations. A stash keeps
// the bounded log-scales tanh r, and the moving half before an encoding or after a decoding.
template <class Kept, bool kDecode>
struct AffineEpilogue {
  float* moving;
  int64_t stride;
  Kept* bounded;  // null: no stash
  Kept* moved;
  int64_t kept_stride;
  int64_t n_moving;
  float alpha;
  float beta;
  CompensatedSum* log_scales;  // sum of s per row

  void operator()(int64_t row, int64_t panel, const float* values) const {
    constexpr int kVectors = kHalfPanel / kLanes;
    float* place = moving + row * stride + panel * kHalfPanel;
    const int64_t in_stash = row * kept_stride + panel * kHalfPanel;
    Vec t[kVectors], s[kVectors], sum = {};
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      t[v] = tanh(load(values + v * kLanes));
      s[v] = t[v] * alpha + beta;
    }
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const int64_t i = v * kLanes;
      const Vec factor = exp(kDecode ? -s[v] : s[v]);
      const Vec translation = load(values + kHalfPanel + i);
      const Vec input = load(place + i);
      const Vec result = kDecode ? (input - translation) * factor : input * factor + translation;
      store(place + i, result);
      sum += keep_first(s[v], n_moving - panel * kHalfPanel - i);
      if (bounded) {
        store(bounded + in_stash + i, t[v]);
        store(moved + in_stash + i, kDecode ? result : input);
      }
    }
    log_scales[row].add(sum);
  }
};

// Through the affine map of one row: the moving half of the gradient in place, and the gradients to
// the MLP's output in the order of its panels.
template <Format kFormat, bool kDecode>
static inline void affine_backward(float* moving, const typename Operand<kFormat>::Kept* bounded,
                                   const typename Operand<kFormat>::Kept* moved, float alpha,
                                   float beta, float grad_log_det, int64_t n_panels,
                                   typename Operand<kFormat>::Element* grad_mlp, int64_t plane) {
  const float to_log_scale = kDecode ? -grad_log_det : grad_log_det;
  for (int64_t p = 0; p < n_panels; ++p) {
#pragma GCC unroll 8
    for (int64_t c = 0; c < kHalfPanel; c += kLanes) {
      const int64_t i = p * kHalfPanel + c;
      const Vec grad = load(moving + i);
      const Vec t = load(bounded + i);
      const Vec s = t * alpha + beta;
      const Vec scaled = grad * exp(kDecode ? -s : s);
      const Vec through_scale = kDecode ? -grad * load(moved + i) : scaled * load(moved + i);
      const Vec grad_raw = (through_scale + to_log_scale) * alpha * (1.0f - t * t);
      store(moving + i, scaled);
      Operand<kFormat>::put(grad_mlp, plane, p * kPanel + c, grad_raw);
      Operand<kFormat>::put(grad_mlp, plane, p * kPanel + kHalfPanel + c, kDecode ? -scaled : grad);
    }
  }
}

template <Format kFormat, class Activation>
struct SlopeEpilogue {
  using Op = Operand<kFormat>;
  typename Op::Element* grad;
  int64_t stride;
  const typename Op::Element* hidden;  // outputs of the layer's activation
  int64_t hidden_stride;

  void operator()(int64_t row, int64_t block, const float* values) const {
    const auto* y = hidden + row * hidden_stride;
#pragma GCC unroll 4
    for (int64_t i = 0; i < kPanel; i += kLanes) {
      const int64_t place = block * kPanel + i;
      const Vec slope = Activation::slope(Op::get(y, plane_of(kFormat, hidden_stride), place));
      Op::put(grad + row * stride, plane_of(kFormat, stride), place, load(values + i) * slope);
    }
  }
};

struct AddEpilogue {
  float* rows;
  int64_t stride;

  void operator()(int64_t row, int64_t panel, const float* values) const {
    float* y = rows + row * stride + panel * kPanel;
#pragma GCC unroll 4
    for (int64_t i = 0; i < kPanel; i += kLanes) store(y + i, load(y + i) + load(values + i));
  }
};

struct StateEpilogue {
  float* rows;
  int64_t stride;

  void operator()(int64_t row, int64_t panel, const float* values) const {
    float* y = rows + row * stride + panel * kPanel;
#pragma GCC unroll 4
    for (int64_t i = 0; i < kPanel; i += kLanes) store(y + i, load(values + i));
  }
};

}  // namespace dds::DDS_LEVEL
