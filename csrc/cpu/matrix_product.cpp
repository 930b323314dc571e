#include "matrix_product.h"

#include "levels.h"
#include "threads.h"

namespace dds {
namespace {

// A product may read behind the last row.
constexpr int64_t kSpareRows = 32;

PackedLayer layer_of(Format format, int64_t k, int64_t n) {
  PackedLayer layer;
  const bool split = format == Format::split;
  layer.n_in = k;
  layer.input_bytes = kPanel * (split ? 2 * planes(format) : 4);
  layer.n_panels = ceil_div(n, kPanel);
  layer.panel_bytes = kBiasBytes + (split ? round_up(k, kInputBlock) : k) * layer.input_bytes;
  layer.offset = 0;
  return layer;
}

int64_t operand_bytes(int64_t k) { return (kMatrixRows + kSpareRows) * matrix_row_bytes(k); }

}  // namespace

void matrix_product(Format format, const MatrixProduct& product, Buffer& scratch, int n_threads) {
  const PackedLayer layer = layer_of(format, product.k, product.n);
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
