#include "bank_kernel.h"

namespace dds {

const void* bank_forward_kernel(Precision precision) {
  return bank_kernel_of<Pass::forward>(precision);
}

}  // namespace dds
