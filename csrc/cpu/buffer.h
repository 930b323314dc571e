// Memory of a search.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <vector>

#include "huge_pages.h"

namespace dds {

// NaN until they are written: who reads them before would show it.
inline std::vector<float> unwritten(int64_t n) {
  return std::vector<float>(n, std::numeric_limits<float>::quiet_NaN());
}

// Bytes in huge pages, where the system has them.
class Buffer {
 public:
  // So many, or more; what they held is lost where they were fewer.
  char* at_least(int64_t bytes) {
    if (bytes > size_) {
      memory_.reset();
      memory_.reset(static_cast<char*>(::operator new(bytes, kAlignment)));
      size_ = bytes;
      prefer_huge_pages(memory_.get(), bytes);
    }
    return memory_.get();
  }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(char* memory) const { ::operator delete(memory, kAlignment); }
  };

  std::unique_ptr<char, Free> memory_;
  int64_t size_ = 0;
};

}  // namespace dds
