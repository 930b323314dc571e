// dds_fast._cpu: the CPU kernels, on addresses and sizes. Shapes, dtypes and strides are checked in
// Python; nothing here owns memory.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "dds/coupling_step.h"
#include "dds/cpu_features.h"
#include "dds/packed_weights.h"

namespace py = pybind11;

namespace {

using Address = std::uintptr_t;

float* pointer(Address address) { return reinterpret_cast<float*>(address); }

template <class Pointer>
std::vector<Pointer> pointers(const std::vector<Address>& addresses) {
  std::vector<Pointer> result;
  for (Address address : addresses) result.push_back(pointer(address));
  return result;
}

dds::Activation parse_activation(const std::string& name) {
  if (name == "selu") return dds::Activation::selu;
  if (name == "leaky_relu") return dds::Activation::leaky_relu;
  throw std::invalid_argument("unknown activation '" + name + "'");
}

dds::Direction parse_direction(const std::string& name) {
  if (name == "encode") return dds::Direction::encode;
  if (name == "decode") return dds::Direction::decode;
  throw std::invalid_argument("unknown direction '" + name + "'");
}

dds::Coupling describe(const std::vector<dds::PackedLayer>& layout, int64_t groups, int64_t rows,
                       const dds::Widths& widths, const std::string& activation,
                       const std::string& direction, Address alpha, Address beta, Address packed) {
  dds::Coupling coupling;
  coupling.groups = groups;
  coupling.rows = rows;
  coupling.n_passing = widths.front();
  coupling.n_moving = widths.back() / 2;
  coupling.activation = parse_activation(activation);
  coupling.direction = parse_direction(direction);
  coupling.alpha = pointer(alpha);
  coupling.beta = pointer(beta);
  coupling.packed = pointer(packed);
  coupling.packed_size = dds::packed_size(layout);
  coupling.layers = layout.data();
  coupling.n_layers = static_cast<int64_t>(layout.size());
  coupling.scratch_rows = dds::scratch_rows(rows);
  coupling.scratch_stride = dds::scratch_stride(widths);
  return coupling;
}

void coupling_forward(int64_t groups, int64_t rows, const dds::Widths& widths,
                      const std::string& activation, const std::string& direction, Address alpha,
                      Address beta, Address packed, Address x, Address out, Address log_det,
                      const std::vector<Address>& hidden, Address bounded, Address scale,
                      Address moved, Address scratch, int n_threads) {
  const auto layout = dds::forward_layout(widths);
  const auto coupling =
      describe(layout, groups, rows, widths, activation, direction, alpha, beta, packed);
  const auto hidden_pointers = pointers<float*>(hidden);
  dds::ForwardTensors tensors;
  tensors.x = pointer(x);
  tensors.out = pointer(out);
  tensors.log_det = pointer(log_det);
  tensors.hidden = hidden.empty() ? nullptr : hidden_pointers.data();
  tensors.bounded = pointer(bounded);
  tensors.scale = pointer(scale);
  tensors.moved = pointer(moved);
  dds::coupling_forward(coupling, tensors, pointer(scratch), n_threads);
}

void coupling_backward(int64_t groups, int64_t rows, const dds::Widths& widths,
                       const std::string& activation, const std::string& direction, Address alpha,
                       Address beta, Address packed, const std::vector<Address>& hidden,
                       Address bounded, Address scale, Address moved, int64_t moved_group_stride,
                       int64_t moved_row_stride, Address grad_out, Address grad_log_det,
                       Address grad_x, Address scratch, int n_threads) {
  const auto layout = dds::backward_layout(widths);
  const auto coupling =
      describe(layout, groups, rows, widths, activation, direction, alpha, beta, packed);
  const auto hidden_pointers = pointers<const float*>(hidden);
  dds::BackwardTensors tensors;
  tensors.hidden = hidden_pointers.data();
  tensors.bounded = pointer(bounded);
  tensors.scale = pointer(scale);
  tensors.moved = pointer(moved);
  tensors.moved_group_stride = moved_group_stride;
  tensors.moved_row_stride = moved_row_stride;
  tensors.grad_out = pointer(grad_out);
  tensors.grad_log_det = pointer(grad_log_det);
  tensors.grad_x = pointer(grad_x);
  dds::coupling_backward(coupling, tensors, pointer(scratch), n_threads);
}

std::vector<std::string> levels() {
  std::vector<std::string> names;
  for (dds::Level level : dds::supported_levels()) names.push_back(dds::level_name(level));
  return names;
}

void elementwise(const std::string& function, Address x, Address y, int64_t n) {
  const dds::Kernels& kernels = dds::active_kernels();
  if (function == "exp") {
    kernels.exp(pointer(x), pointer(y), n);
  } else if (function == "expm1_negative") {
    kernels.expm1_negative(pointer(x), pointer(y), n);
  } else if (function == "tanh") {
    kernels.tanh(pointer(x), pointer(y), n);
  } else {
    throw std::invalid_argument("unknown function '" + function + "'");
  }
}

}  // namespace

PYBIND11_MODULE(_cpu, module) {
  const auto release = py::call_guard<py::gil_scoped_release>();

  module.def("levels", &levels, "Instruction-set levels that can run here, lowest first.");
  module.def(
      "level", [] { return dds::level_name(dds::active_level()); },
      "The level in use. ValueError if DDS_FAST_CPU_ISA asks for one that cannot run.");
  module.def("set_level", &dds::set_level, py::arg("name"));

  module.def("forward_packed_size", [](const dds::Widths& widths) {
    return dds::packed_size(dds::forward_layout(widths));
  });
  module.def("backward_packed_size", [](const dds::Widths& widths) {
    return dds::packed_size(dds::backward_layout(widths));
  });
  module.def(
      "pack_forward",
      [](int64_t groups, const dds::Widths& widths, const std::vector<Address>& weights,
         const std::vector<Address>& biases, Address packed, int n_threads) {
        dds::pack_forward(groups, widths, pointers<const float*>(weights),
                          pointers<const float*>(biases), pointer(packed), n_threads);
      },
      release, py::arg("groups"), py::arg("widths"), py::arg("weights"), py::arg("biases"),
      py::arg("packed"), py::arg("n_threads"));
  module.def(
      "pack_backward",
      [](int64_t groups, const dds::Widths& widths, const std::vector<Address>& weights,
         Address packed, int n_threads) {
        dds::pack_backward(groups, widths, pointers<const float*>(weights), pointer(packed),
                           n_threads);
      },
      release, py::arg("groups"), py::arg("widths"), py::arg("weights"), py::arg("packed"),
      py::arg("n_threads"));

  module.def("scratch_size", &dds::scratch_size, py::arg("widths"), py::arg("rows"),
             py::arg("n_threads"));
  module.def("coupling_forward", &coupling_forward, release, py::arg("groups"), py::arg("rows"),
             py::arg("widths"), py::arg("activation"), py::arg("direction"), py::arg("alpha"),
             py::arg("beta"), py::arg("packed"), py::arg("x"), py::arg("out"), py::arg("log_det"),
             py::arg("hidden"), py::arg("bounded"), py::arg("scale"), py::arg("moved"),
             py::arg("scratch"), py::arg("n_threads"));
  module.def("coupling_backward", &coupling_backward, release, py::arg("groups"), py::arg("rows"),
             py::arg("widths"), py::arg("activation"), py::arg("direction"), py::arg("alpha"),
             py::arg("beta"), py::arg("packed"), py::arg("hidden"), py::arg("bounded"),
             py::arg("scale"), py::arg("moved"), py::arg("moved_group_stride"),
             py::arg("moved_row_stride"), py::arg("grad_out"), py::arg("grad_log_det"),
             py::arg("grad_x"), py::arg("scratch"), py::arg("n_threads"));
  module.def("elementwise", &elementwise, release, py::arg("function"), py::arg("x"), py::arg("y"),
             py::arg("n"), "One of the kernels' own functions over an array, for tests.");
}
