#define DDS_LEVEL level_portable
#define DDS_VECTOR_BYTES 16
#include "kernels.h"
#include "nmf_kernels.h"

namespace dds {
const Kernels kernels_portable = level_portable::kKernels;
const NmfKernels nmf_kernels_portable = level_portable::kNmfKernels;
}  // namespace dds
