#include "nmf.h"

#include <algorithm>

#include "levels.h"
#include "threads.h"

namespace dds {
namespace {

// Elements of a piece of work. Sums are made per piece, so that they do not depend on the number of
// threads.
constexpr int64_t kPiece = 1 << 13;

int64_t n_pieces(int64_t n) { return (n + kPiece - 1) / kPiece; }

// work(piece, first element, number of elements)
template <class Work>
void for_each_piece(int64_t n, int n_threads, const Work& work) {
  const int64_t count = n_pieces(n);
#pragma omp parallel for schedule(static) num_threads(n_threads) if (count > 1)
  for (int64_t piece = 0; piece < count; ++piece) {
    const int64_t first = piece * kPiece;
    work(piece, first, std::min(kPiece, n - first));
  }
}

double total(const double* sums, int64_t n) {
  double result = 0.0;
  for (int64_t i = 0; i < n_pieces(n); ++i) result += sums[i];
  return result;
}

AdamTensors part(const AdamTensors& whole, int64_t first, int64_t n) {
  AdamTensors result = whole;
  result.first_moment += first;
  result.second_moment += first;
  result.values += first;
  result.n = n;
  return result;
}

}  // namespace

int64_t residual_sums(int64_t n) { return n_pieces(n); }

double nmf_residual(const float* target, float* approximation, int64_t n, double* sums,
                    int n_threads) {
  const auto kernel = active_kernels().nmf.residual;
  for_each_piece(n, n_threads, [=](int64_t piece, int64_t first, int64_t size) {
    sums[piece] = kernel(target + first, approximation + first, size);
  });
  return total(sums, n);
}

void nmf_ratio(const float* numerator, const float* denominator, float epsilon, float* values,
               int64_t n, int n_threads) {
  const auto kernel = active_kernels().nmf.ratio;
  for_each_piece(n, n_threads, [=](int64_t, int64_t first, int64_t size) {
    kernel(numerator + first, denominator + first, epsilon, values + first, size);
  });
}

void nmf_quotient(const float* target, float epsilon, float* approximation, int64_t n,
                  int n_threads) {
  const auto kernel = active_kernels().nmf.quotient;
  for_each_piece(n, n_threads, [=](int64_t, int64_t first, int64_t size) {
    kernel(target + first, epsilon, approximation + first, size);
  });
}

void nmf_adam(const float* gradient, float scale, const AdamTensors& tensors, int n_threads) {
  const auto kernel = active_kernels().nmf.adam;
  for_each_piece(tensors.n, n_threads, [=](int64_t, int64_t first, int64_t size) {
    kernel(gradient + first, scale, part(tensors, first, size));
  });
}

void nmf_adam_gram(const double* product, const double* target, double scale, double* wide,
                   const AdamTensors& tensors, int n_threads) {
  const auto kernel = active_kernels().nmf.adam_gram;
  for_each_piece(tensors.n, n_threads, [=](int64_t, int64_t first, int64_t size) {
    kernel(product + first, target + first, scale, wide + first, part(tensors, first, size));
  });
}

double nmf_gram_cost(const double* values, const double* product, const double* target, int64_t n,
                     double* sums, int n_threads) {
  const auto kernel = active_kernels().nmf.gram_cost;
  for_each_piece(n, n_threads, [=](int64_t piece, int64_t first, int64_t size) {
    sums[piece] = kernel(values + first, product + first, target + first, size);
  });
  return total(sums, n);
}

int64_t padded_candidates(int64_t n) {
  return (n + kCandidatePadding - 1) / kCandidatePadding * kCandidatePadding;
}

int64_t candidates_scratch(int64_t capacity) {
  const int64_t padded = padded_candidates(capacity);
  return padded * (padded + 1);
}

void refine_candidates(const Candidates& candidates, float* scratch, int n_threads) {
  const auto kernel = active_kernels().nmf.refine;
  const int64_t size = candidates_scratch(candidates.capacity);
#pragma omp parallel for schedule(dynamic, 1) num_threads(n_threads)
  for (int64_t frame = 0; frame < candidates.n_frames; ++frame) {
    kernel(candidates, frame, scratch + thread_index() * size);
  }
}

}  // namespace dds
