#include "registers.h"

#include "kernel_table.h"

namespace dds {

int64_t multiply_registers(Format format, int64_t rounds, int n_threads) {
  const auto kernel = active_kernels().multiply_registers[format == Format::bfloat16];
  int64_t total = 0;
#pragma omp parallel for num_threads(n_threads) reduction(+ : total)
  for (int thread = 0; thread < n_threads; ++thread) {
    volatile float sink;
    float sum;
    total += kernel(rounds, &sum);
    sink = sum;
    static_cast<void>(sink);
  }
  return total;
}

}  // namespace dds
