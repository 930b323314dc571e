#define DDS_LEVEL level_avx512_bf16
#define DDS_VECTOR_BYTES 64
#define DDS_BF16_DOT

#include "kernels.h"

namespace dds {
const Kernels kernels_avx512_bf16 = level_avx512_bf16::kKernels;
}
