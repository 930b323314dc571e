#include <cuda_runtime.h>

#include <stdexcept>

#include "device_query.h"

namespace dds {
namespace {

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string("no device: ") + cudaGetErrorString(error));
}

}  // namespace

std::vector<Device> device_query() {
  int count = 0;
  check(cudaGetDeviceCount(&count));
  if (count == 0) check(cudaErrorNoDevice);
  std::vector<Device> devices;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties;
    check(cudaGetDeviceProperties(&properties, i));
    devices.push_back({properties.name, properties.major, properties.minor,
                       properties.multiProcessorCount,
                       static_cast<int64_t>(properties.totalGlobalMem),
                       static_cast<int64_t>(properties.sharedMemPerBlockOptin),
                       static_cast<int64_t>(properties.l2CacheSize)});
  }
  return devices;
}

}  // namespace dds
