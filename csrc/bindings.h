// Addresses and names as Python passes them.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "flow_tensors.h"

namespace dds {

using Address = std::uintptr_t;

template <class T>
T* pointer(Address address) {
  return reinterpret_cast<T*>(address);
}

template <class T>
using Passed = std::conditional_t<std::is_pointer_v<T>, Address, T>;

// A function of pointers, as one of addresses.
template <class Result, class... Arguments>
auto by_address(Result (*function)(Arguments...)) {
  return [function](Passed<Arguments>... arguments) { return function((Arguments)(arguments)...); };
}

template <class Value>
Value parse(const char* what, const std::string& name,
            std::initializer_list<std::pair<const char*, Value>> values) {
  for (const auto& [known, value] : values) {
    if (name == known) return value;
  }
  throw std::invalid_argument(std::string("unknown ") + what + " '" + name + "'");
}

inline Direction parse_direction(const std::string& name) {
  return parse<Direction>("direction", name,
                          {{"encode", Direction::encode}, {"decode", Direction::decode}});
}

inline Activation parse_activation(const std::string& name) {
  return parse<Activation>("activation", name,
                           {{"selu", Activation::selu}, {"leaky_relu", Activation::leaky_relu}});
}

}  // namespace dds
