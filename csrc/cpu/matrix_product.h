// c = a b - subtrahend in float32 numbers. In the split format the factors are multiplied as pairs
// of bfloat16 numbers (three products, sums in float32): on AMX several times as fast as a float32
// product, and nearly as exact.
#pragma once

#include <cstdint>

#include "packed_weights.h"

namespace dds {

// A matrix whose rows are `stride` numbers apart, or the transpose of one.
struct Factor {
  const float* values;
  int64_t stride;
  bool transposed;
};

// What becomes of c where it is updated multiplicatively (Lee and Seung, NIPS 2000): c ratio, or
// c ratio^1.5 if over-relaxed, with ratio = numerator / (a b + norm weight + tiny) by row and
// column.
struct Multiplicative {
  const float* numerator;  // (m, n)
  const float* norms;      // (m)
  const int32_t* labels;   // (m) which row of the weights
  const float* weights;    // (..., n)
  float tiny;
  bool over_relaxed;
};

struct MatrixProduct {
  int64_t m;
  int64_t k;
  int64_t n;
  Factor a;                 // (m, k)
  Factor b;                 // (k, n)
  const float* subtrahend;  // (m, n), contiguous like c; or null
  float* c;
  const Multiplicative* rule = nullptr;  // null: c = a b - subtrahend; b may be c where it is given
};

// Workspace in bytes; `format` is float32 or split.
int64_t matrix_product_bytes(Format format, int64_t k, int64_t n, int n_threads);

void matrix_product(Format format, const MatrixProduct& product, char* scratch, int n_threads);

}  // namespace dds
