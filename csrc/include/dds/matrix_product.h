// c = a b in float32 numbers, multiplied as pairs of bfloat16 numbers (three products, sums in
// float32): on AMX several times as fast as a float32 product, and nearly as exact.
#pragma once

#include <cstdint>

namespace dds {

struct MatrixProduct {
  int64_t m;
  int64_t k;
  int64_t n;
  const float* a;  // (m, k), row-major and contiguous like the others
  const float* b;  // (k, n)
  float* c;        // (m, n)
};

// Workspace in bytes.
int64_t matrix_product_bytes(int64_t m, int64_t k, int64_t n, int n_threads);

void matrix_product(const MatrixProduct& product, char* scratch, int n_threads);

}  // namespace dds
