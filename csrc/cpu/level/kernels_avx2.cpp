#define DDS_LEVEL level_avx2
#define DDS_VECTOR_BYTES 32
#include "kernels.h"
#include "nmf_kernels.h"

namespace dds {
const Kernels kernels_avx2 = level_avx2::kKernels;
const NmfKernels nmf_kernels_avx2 = level_avx2::kNmfKernels;
}  // namespace dds
