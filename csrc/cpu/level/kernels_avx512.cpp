#define DDS_LEVEL level_avx512
#define DDS_VECTOR_BYTES 64
#include "kernels.h"
#include "nmf_kernels.h"

namespace dds {
const Kernels kernels_avx512 = level_avx512::kKernels;
const NmfKernels nmf_kernels_avx512 = level_avx512::kNmfKernels;
}  // namespace dds
