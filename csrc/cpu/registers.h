// Multiply-adds whose operands stay in registers: what the processor can do at best, to measure
// kernels by.
#pragma once

#include <cstdint>

#include "packed_weights.h"

namespace dds {

// Some rounds on each thread, in float32 or bfloat16; returns the multiply-adds of all threads.
int64_t multiply_registers(Format format, int64_t rounds, int n_threads);

}  // namespace dds
