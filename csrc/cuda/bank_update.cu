#include "bank_kernel.h"

namespace dds {

const void* bank_update_kernel(Precision precision) {
  return bank_kernel_of<Pass::update>(precision);
}

}  // namespace dds
