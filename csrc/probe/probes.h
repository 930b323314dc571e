// What the kernels of one instruction-set level are measured by and made of.
#pragma once

#include <cstdint>

namespace dds {

struct Probes {
  // Rounds of independent multiply-adds, as many as a processor needs to be busy: in float32 and in
  // bfloat16. Each returns the multiply-adds done, and leaves something in `sum` that depends on
  // all of them.
  int64_t (*multiply_registers[2])(int64_t rounds, float* sum);
  // Over n numbers.
  void (*exp)(const float* x, float* y, int64_t n);
  void (*expm1_negative)(const float* x, float* y, int64_t n);
  void (*tanh)(const float* x, float* y, int64_t n);
};

}  // namespace dds
