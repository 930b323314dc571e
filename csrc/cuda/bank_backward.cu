#include "bank_kernel.h"

namespace dds {

const void* bank_backward_kernel(Precision precision) {
  return bank_kernel_of<Pass::backward>(precision);
}

}  // namespace dds
