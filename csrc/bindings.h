// Addresses as Python passes them.
#pragma once

#include <cstdint>

namespace dds {

using Address = std::uintptr_t;

template <class T>
T* pointer(Address address) {
  return reinterpret_cast<T*>(address);
}

}  // namespace dds
