// c = a b - subtrahend in float32 numbers. In the split format the factors are multiplied as pairs
// of bfloat16 numbers (three products, sums in float32): on AMX several times as fast as a float32
// product, and nearly as exact.
#pragma once

#include <cstdint>

#include "buffer.h"
#include "packed_weights.h"

namespace dds {

// A matrix whose rows are `stride` numbers apart, or the transpose of one.
struct Factor {
  const float* values;
  int64_t stride;
  bool transposed = false;
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
  Factor a;                           // (m, k)
  Factor b;                           // (k, n)
  const float* subtrahend = nullptr;  // (m, n), contiguous like c
  float* c;
  const Multiplicative* rule = nullptr;  // b may be c where it is given
};

// `scratch` grows to what the product needs.
void matrix_product(Format format, const MatrixProduct& product, Buffer& scratch, int n_threads);

}  // namespace dds
