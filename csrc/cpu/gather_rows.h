#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

namespace dds {

// Rows `kept`, ascending, of a matrix to its beginning.
template <class Number>
void gather_rows(Number* matrix, int64_t width, const std::vector<int64_t>& kept) {
  for (size_t i = 0; i < kept.size(); ++i) {
    const auto to = static_cast<int64_t>(i);
    if (to != kept[i]) {
      std::memmove(matrix + to * width, matrix + kept[i] * width, width * sizeof(Number));
    }
  }
}

}  // namespace dds
