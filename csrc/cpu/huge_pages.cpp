#include "huge_pages.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace dds {

void prefer_huge_pages(void* memory, int64_t bytes) {
#ifdef __linux__
  constexpr uintptr_t kHugePage = 2 << 20;
  const auto begin = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t first = (begin + kHugePage - 1) / kHugePage * kHugePage;
  const uintptr_t last = (begin + static_cast<uintptr_t>(bytes)) / kHugePage * kHugePage;
  if (first >= last) return;
  madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
  // Memory that the allocator hands out again has small pages already; Linux 6.1 can merge them.
  constexpr int kCollapse = 25;  // MADV_COLLAPSE, which older headers lack
  madvise(reinterpret_cast<void*>(first), last - first, kCollapse);
#else
  static_cast<void>(memory);
  static_cast<void>(bytes);
#endif
}

}  // namespace dds
