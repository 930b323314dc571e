#define DDS_LEVEL level_amx
#define DDS_VECTOR_BYTES 64
#define DDS_BF16_DOT
#define DDS_AMX
#include "kernels.h"

namespace dds {
const Kernels kernels_amx = level_amx::kKernels;
}
