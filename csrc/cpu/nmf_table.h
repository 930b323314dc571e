// The kernels of a non-negative factorisation at one instruction-set level.
#pragma once

#include <cstdint>

#include "nmf.h"

namespace dds {

struct NmfKernels {
  double (*residual)(const float* target, float* approximation, int64_t n);
  void (*ratio)(const float* numerator, const float* denominator, float epsilon, float* values,
                int64_t n);
  void (*quotient)(const float* target, float epsilon, float* approximation, int64_t n);
  void (*adam)(const float* gradient, float scale, const AdamTensors& tensors);
  void (*adam_gram)(const double* product, const double* target, double scale, double* wide,
                    const AdamTensors& tensors);
  double (*gram_cost)(const double* values, const double* product, const double* target, int64_t n);
  void (*refine)(const Candidates& candidates, int64_t frame, float* scratch);
};

extern const NmfKernels nmf_kernels_portable;
#ifdef DDS_X86_KERNELS
extern const NmfKernels nmf_kernels_avx2;
extern const NmfKernels nmf_kernels_avx512;
#endif

// Each candidate matrix row and vector is padded to a whole number of the widest vectors.
constexpr int64_t kCandidatePadding = 16;

}  // namespace dds
