// Non-negative least squares of one frame over its candidates.
#pragma once

#include "cpu/kernels.h"
#include "cpu/nmf.h"
#include "simd.h"

namespace dds::DDS_LEVEL {

constexpr int kMaxSweeps = 50;
// The sweeps end when one lowers the squared residual by less than this share of it.
constexpr float kSweepGain = 1e-6f;
// An entry whose correlation with the residual is less than this share of the residual's norm is
// orthogonal to it, up to rounding.
constexpr float kLeastCorrelation = 1e-6f;
constexpr float kMember = -1.0f;

static inline int64_t padded(int64_t n) {
  return (n + kCandidatePadding - 1) / kCandidatePadding * kCandidatePadding;
}

static inline float sum_lanes(Vec v) {
  float sum = 0.0f;
  for (int i = 0; i < kLanes; ++i) sum += v[i];
  return sum;
}

// Inner products of kRows rows with kColumns others, to block[row * stride + column].
template <int kRows, int kColumns>
static inline void inner_products(const float* const* rows, const float* const* columns, int64_t n,
                                  float* block, int64_t stride) {
  Vec sums[kRows][kColumns] = {};
  for (int64_t i = 0; i < n; i += kLanes) {
    Vec b[kColumns];
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) b[c] = load(columns[c] + i, n - i);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const Vec a = load(rows[r] + i, n - i);
#pragma GCC unroll 4
      for (int c = 0; c < kColumns; ++c) sums[r][c] += a * b[c];
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kColumns; ++c) block[r * stride + c] = sum_lanes(sums[r][c]);
  }
}

// The Gram matrix of the candidates, padded with zeros.
static inline void candidate_gram(const Candidates& all, const int32_t* entries, int64_t count,
                                  float* gram) {
  constexpr int kTile = 4;
  const int64_t stride = padded(count);
  // Whole tiles: rows behind the last are the last once more, and their products unused.
  const float* rows[kTile];
  const float* columns[kTile];
  const auto row = [&](int64_t i) {
    return all.dictionary + entries[i < count ? i : count - 1] * all.n_features;
  };
  for (int64_t i = 0; i < count; i += kTile) {
    for (int r = 0; r < kTile; ++r) rows[r] = row(i + r);
    for (int64_t j = 0; j <= i; j += kTile) {
      for (int c = 0; c < kTile; ++c) columns[c] = row(j + c);
      float tile[kTile * kTile];
      inner_products<kTile, kTile>(rows, columns, all.n_features, tile, kTile);
      for (int r = 0; r < kTile && i + r < count; ++r) {
        for (int c = 0; c < kTile && j + c < count; ++c) {
          gram[(i + r) * stride + j + c] = gram[(j + c) * stride + i + r] = tile[r * kTile + c];
        }
      }
    }
  }
  for (int64_t i = 0; i < count; ++i) {
    gram[i * stride + i] = 1.0f;
    for (int64_t j = count; j < stride; ++j) gram[i * stride + j] = 0.0f;
  }
}

// Appends the at most `n_new` entries of the largest correlations above `least`, in no order.
// Returns how many.
static inline int64_t add_candidates(const float* correlations, int64_t n_entries, float least,
                                     int64_t n_new, int32_t* entries) {
  int64_t n = 0;
  int64_t smallest = 0;
  float bound = least;
  for (int64_t i = 0; i < n_entries; i += kLanes) {
    const IntVec larger = load(correlations + i, n_entries - i) > bound;
    int32_t any = 0;
    for (int l = 0; l < kLanes; ++l) any |= larger[l];
    if (!any) continue;
    for (int64_t j = i; j < i + kLanes && j < n_entries; ++j) {
      if (!(correlations[j] > bound)) continue;
      if (n < n_new) {
        entries[n++] = static_cast<int32_t>(j);
      } else {
        entries[smallest] = static_cast<int32_t>(j);
      }
      if (n < n_new) continue;
      smallest = 0;
      for (int64_t k = 1; k < n; ++k) {
        if (correlations[entries[k]] < correlations[entries[smallest]]) smallest = k;
      }
      bound = correlations[entries[smallest]];
    }
  }
  return n;
}

// Cyclic coordinate descent; `gradient` (the correlations with the residual) follows.
static inline void descend(const float* gram, int64_t count, float square, float* gradient,
                           float* activations) {
  const int64_t stride = padded(count);
  for (int sweep = 0; sweep < kMaxSweeps; ++sweep) {
    float gain = 0.0f;
    for (int64_t j = 0; j < count; ++j) {
      const float moved = activations[j] + gradient[j];
      const float next = moved > 0.0f ? moved : 0.0f;
      const float change = next - activations[j];
      if (change == 0.0f) continue;
      activations[j] = next;
      gain += change * change;
      for (int64_t i = 0; i < stride; i += kLanes) {
        store(gradient + i, load(gradient + i) - load(gram + j * stride + i) * change);
      }
    }
    if (gain <= kSweepGain * square) return;
  }
}

// Which candidates a frame has, and the correlations of those with its residual. Returns how many.
static inline int64_t choose_candidates(const Candidates& all, int64_t frame, float* gradient) {
  int32_t* entries = all.entries + frame * all.capacity;
  float* activations = all.activations + frame * all.capacity;
  float* correlations = all.correlations + frame * all.n_entries;
  const int64_t count_before = all.counts[frame];
  int64_t count = 0;
  for (int64_t i = 0; i < count_before; ++i) {
    if (!(activations[i] > 0.0f)) continue;
    entries[count] = entries[i];
    activations[count] = activations[i];
    gradient[count++] = correlations[entries[i]];
    correlations[entries[i]] = kMember;
  }
  const float norm = __builtin_sqrtf(static_cast<float>(all.squares[frame]));
  const int64_t room = all.capacity - count;
  const int64_t n_new = add_candidates(correlations, all.n_entries, kLeastCorrelation * norm,
                                       all.n_new < room ? all.n_new : room, entries + count);
  for (int64_t i = count; i < count + n_new; ++i) {
    activations[i] = 0.0f;
    gradient[i] = correlations[entries[i]];
  }
  count += n_new;
  for (int64_t i = count; i < count_before; ++i) activations[i] = 0.0f;
  all.counts[frame] = static_cast<int32_t>(count);
  return count;
}

static void refine(const Candidates& all, int64_t frame, float* scratch) {
  const int32_t* entries = all.entries + frame * all.capacity;
  float* activations = all.activations + frame * all.capacity;
  float* gradient = scratch;
  float* own_gram = gradient + padded(all.capacity);

  int64_t count = all.n_entries;
  if (all.gram) {
    const float* correlations = all.correlations + frame * count;
    for (int64_t i = 0; i < count; ++i) gradient[i] = correlations[i];
  } else {
    count = choose_candidates(all, frame, gradient);
    candidate_gram(all, entries, count, own_gram);
  }
  for (int64_t i = count; i < padded(count); ++i) gradient[i] = 0.0f;
  descend(all.gram ? all.gram : own_gram, count, static_cast<float>(all.squares[frame]), gradient,
          activations);

  const int64_t n = all.n_features;
  CompensatedSum squares;
  for (int64_t i = 0; i < n; i += 4 * kLanes) {
    // Four vectors hide the latency of the sums.
    Vec rest[4];
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      const int64_t at = i + v * kLanes;
      rest[v] = at < n ? load(all.spectra + frame * n + at, n - at) : Vec{};
    }
    for (int64_t k = 0; k < count; ++k) {
      if (activations[k] == 0.0f) continue;
      const float* entry = all.dictionary + entries[k] * n;
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) {
        const int64_t at = i + v * kLanes;
        if (at < n) rest[v] -= load(entry + at, n - at) * activations[k];
      }
    }
    for (int v = 0; v < 4 && i + v * kLanes < n; ++v) {
      const int64_t at = i + v * kLanes;
      store(all.residuals + frame * n + at, rest[v], n - at);
      squares.add(rest[v] * rest[v]);
    }
  }
  all.squares[frame] = squares.reduce();
}

}  // namespace dds::DDS_LEVEL
