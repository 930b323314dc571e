#include "kernel_table.h"

#include "cpu_features.h"

namespace dds {

const Kernels& active_kernels() {
  switch (active_level()) {
#ifdef DDS_X86_KERNELS
    case Level::avx2:
      return kernels_avx2;
    case Level::avx512:
      return kernels_avx512;
    case Level::avx512_bf16:
      return kernels_avx512_bf16;
    case Level::amx:
      return kernels_amx;
#endif
    default:
      return kernels_portable;
  }
}

}  // namespace dds
