// Huge pages: a stream over hundreds of megabytes of weights otherwise waits for page tables.
#pragma once

#include <cstdint>

namespace dds {

// Asks the operating system to back memory with huge pages; it may decline.
void prefer_huge_pages(void* memory, int64_t bytes);

}  // namespace dds
