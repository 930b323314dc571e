// The CUDA devices of this machine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dds {

struct Device {
  std::string name;
  int major;
  int minor;
  int n_multiprocessors;
  int64_t memory;         // bytes
  int64_t shared_memory;  // bytes that one block can opt into
  int64_t l2_cache;       // bytes
};

// Throws std::runtime_error("no device: ...") if the runtime cannot list devices or finds none.
std::vector<Device> device_query();

}  // namespace dds
