#include "matrix_product.h"

#include "levels.h"
#include "threads.h"

namespace dds {
namespace {

// A product may read behind the last row.
constexpr int64_t kSpareRows = 32;

int64_t operand_bytes(int64_t k) { return (kMatrixRows + kSpareRows) * matrix_row_bytes(k); }

}  // namespace

void matrix_product(Format format, const MatrixProduct& product, Buffer& scratch, int n_threads) {
  const PackedLayer layer = make_layer(format, product.k, ceil_div(product.n, kPanel), 0);
  const int64_t packed_bytes = layer.n_panels * layer.panel_bytes;
  char* const packed = scratch.at_least(packed_bytes + n_threads * operand_bytes(product.k));
  const MatrixKernels& kernels = active_kernels().matrix[format == Format::split];
  const int64_t n_blocks = round_up(ceil_div(product.m, kMatrixRows), n_threads);
#pragma omp parallel num_threads(n_threads)
  {
#pragma omp for
    for (int64_t p = 0; p < layer.n_panels; ++p) {
      kernels.pack_panel(product, p, packed + p * layer.panel_bytes);
    }
#pragma omp for
    for (int64_t i = 0; i < n_blocks; ++i) {
      kernels.multiply_rows(product, product.m * i / n_blocks, product.m * (i + 1) / n_blocks,
                            layer, packed,
                            packed + packed_bytes + thread_index() * operand_bytes(product.k));
    }
  }
}

}  // namespace dds
