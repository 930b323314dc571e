#define DDS_LEVEL level_avx512
#define DDS_VECTOR_BYTES 64
#include "kernels.h"

namespace dds {
const Kernels kernels_avx512 = level_avx512::kKernels;
}
