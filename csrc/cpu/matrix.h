// Products of whole matrices.
#pragma once

#include "matrix_product.h"

namespace dds {

// Row-major and contiguous, or the transpose of such a one.
struct Matrix {
  const float* values;
  int64_t rows;
  int64_t columns;
  bool transposed = false;

  Matrix T() const { return {values, columns, rows, !transposed}; }
  operator Factor() const { return {values, transposed ? rows : columns, transposed}; }
};

// c = a b - subtrahend
inline MatrixProduct product_of(const Matrix& a, const Matrix& b, float* c,
                                const float* subtrahend = nullptr) {
  return {.m = a.rows,
          .k = a.columns,
          .n = b.columns,
          .a = a,
          .b = b,
          .subtrahend = subtrahend,
          .c = c};
}

}  // namespace dds
