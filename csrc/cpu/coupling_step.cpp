#include "dds/coupling_step.h"

#include <algorithm>
#include <numeric>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "dds/cpu_features.h"

namespace dds {
namespace {

// Splitting a group's rows makes another thread read its weights too: not for fewer rows than this.
constexpr int64_t kMinBalancedBlock = 16;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int thread_index() {
#ifdef _OPENMP
  return omp_get_thread_num();
#else
  return 0;
#endif
}

// Blocks into which each group's rows are split. Results do not depend on it: every output element
// is summed in the same order whatever the block.
int64_t row_blocks(int64_t groups, int64_t rows, int64_t n_threads) {
  const int64_t needed =
      std::max(ceil_div(rows, kMaxRowBlock), std::min(rows, ceil_div(n_threads, groups)));
  const int64_t multiple = n_threads / std::gcd(n_threads, groups);
  const int64_t balanced = ceil_div(needed, multiple) * multiple;
  return rows / balanced >= kMinBalancedBlock ? balanced : needed;
}

template <class Block>
void for_each_block(const Coupling& coupling, float* scratch, int n_threads, const Block& block) {
  const int64_t n_blocks = row_blocks(coupling.groups, coupling.rows, n_threads);
  const int64_t thread_scratch = 2 * coupling.scratch_rows * coupling.scratch_stride;
#pragma omp parallel for schedule(dynamic, 1) num_threads(n_threads)
  for (int64_t item = 0; item < coupling.groups * n_blocks; ++item) {
    const int64_t group = item / n_blocks, i = item % n_blocks;
    const int64_t begin = coupling.rows * i / n_blocks, end = coupling.rows * (i + 1) / n_blocks;
    block(group, begin, end - begin, scratch + thread_index() * thread_scratch);
  }
}

}  // namespace

const Kernels& active_kernels() {
  switch (active_level()) {
#ifdef DDS_X86_KERNELS
    case Level::avx2:
      return kernels_avx2;
    case Level::avx512:
      return kernels_avx512;
#endif
    default:
      return kernels_portable;
  }
}

int64_t scratch_rows(int64_t rows) { return std::min(rows, kMaxRowBlock); }

int64_t scratch_stride(const Widths& widths) {
  // An odd multiple of a cache line: rows a power of two apart would share few cache sets.
  const int64_t widest = *std::max_element(widths.begin() + 1, widths.end());
  return ceil_div(widest, 32) * 32 + 16;
}

int64_t scratch_size(const Widths& widths, int64_t rows, int n_threads) {
  return n_threads * 2 * scratch_rows(rows) * scratch_stride(widths);
}

void coupling_forward(const Coupling& coupling, const ForwardTensors& tensors, float* scratch,
                      int n_threads) {
  if (coupling.groups == 0 || coupling.rows == 0) return;
  const Kernels& kernels = active_kernels();
  for_each_block(coupling, scratch, n_threads,
                 [&](int64_t group, int64_t row, int64_t count, float* thread_scratch) {
                   kernels.forward(coupling, tensors, group, row, count, thread_scratch);
                 });
}

void coupling_backward(const Coupling& coupling, const BackwardTensors& tensors, float* scratch,
                       int n_threads) {
  if (coupling.groups == 0 || coupling.rows == 0) return;
  const Kernels& kernels = active_kernels();
  for_each_block(coupling, scratch, n_threads,
                 [&](int64_t group, int64_t row, int64_t count, float* thread_scratch) {
                   kernels.backward(coupling, tensors, group, row, count, thread_scratch);
                 });
}

}  // namespace dds
