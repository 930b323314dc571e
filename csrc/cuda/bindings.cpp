// dds_fast._cuda: the CUDA kernels, on device addresses, sizes and a stream.
#include <pybind11/pybind11.h>

#include <stdexcept>

#include "bindings_bank.h"
#include "device_query.h"

namespace py = pybind11;

namespace {

py::object device_query() {
  py::list result;
  try {
    for (const dds::Device& device : dds::device_query()) {
      py::dict entry;
      entry["name"] = device.name;
      entry["compute_capability"] = py::make_tuple(device.major, device.minor);
      entry["n_multiprocessors"] = device.n_multiprocessors;
      entry["memory"] = device.memory;
      entry["shared_memory"] = device.shared_memory;
      entry["l2_cache"] = device.l2_cache;
      result.append(entry);
    }
  } catch (const std::runtime_error& error) {
    return py::str(error.what());
  }
  return result;
}

}  // namespace

PYBIND11_MODULE(_cuda, module) {
  module.def("device_query", &device_query,
             "A list with one dict per device, or the reason why there is none.");
  module.def(
      "compiled_architectures", [] { return DDS_CUDA_ARCHITECTURES; },
      "The architectures that the module was compiled for, as CMake names them.");
  bind_bank(module);
}
