// dds_fast._cpu: the CPU kernels, on addresses and sizes. Shapes, dtypes and strides are checked in
// Python; nothing here owns memory.
#include "bindings.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <vector>

#include "bindings.h"
#include "bindings_flow.h"
#include "flow.h"
#include "huge_pages.h"
#include "levels.h"
#include "packed_weights.h"

namespace py = pybind11;

namespace {

using dds::Address;
using dds::by_address;
using dds::Layout;
using dds::PackedFlow;
using dds::pointer;
using dds::Step;

std::vector<const float*> pointers(const std::vector<Address>& addresses) {
  std::vector<const float*> result;
  for (Address address : addresses) result.push_back(pointer<const float>(address));
  return result;
}

void pack_coupling(const Layout& layout, int64_t groups, const std::vector<Address>& weights,
                   const std::vector<Address>& biases, char* packed, int n_threads) {
  dds::pack_coupling(layout.layout, groups, pointers(weights), pointers(biases), packed, n_threads);
}

void pack_mixing(const Layout& layout, int64_t groups, const float* matrix, const float* bias,
                 char* packed, int n_threads) {
  dds::pack_mixing(layout.layout, groups, matrix, bias, packed, n_threads);
}

void forward(const PackedFlow& flow, int64_t n_groups, int64_t n_rows, const float* in, float* out,
             float* log_det, char* stash, int n_threads) {
  dds::Buffer scratch;
  dds::flow_forward(flow.flow, {n_groups, n_rows},
                    {.in = in, .out = out, .log_det = log_det, .stash = stash}, scratch, n_threads);
}

void backward(const PackedFlow& flow, int64_t n_groups, int64_t n_rows, const char* stash,
              const float* grad_out, const float* grad_log_det, float* grad_in, int n_threads) {
  dds::Buffer scratch;
  dds::flow_backward(
      flow.flow, {n_groups, n_rows},
      {.stash = stash, .grad_out = grad_out, .grad_log_det = grad_log_det, .grad_in = grad_in},
      scratch, n_threads);
}

}  // namespace

// Each in a file of its own.
void bind_nmf(py::module_& module);
void bind_search(py::module_& module);

PYBIND11_MODULE(_cpu, module) {
  const auto release = py::call_guard<py::gil_scoped_release>();

  module.def("levels", &dds::supported_levels,
             "Instruction-set levels that can run here, lowest first.");
  module.def("level", &dds::active_level,
             "The level in use. ValueError if DDS_FAST_CPU_ISA asks for one that cannot run.");
  module.def("set_level", &dds::set_level, py::arg("name"));

  module.def("prefer_huge_pages", by_address(&dds::prefer_huge_pages),
             "Asks for huge pages behind fresh memory; the system may decline.");

  py::class_<Layout, std::shared_ptr<Layout>>(module, "Layout")
      .def(py::init<const std::string&, const std::string&, int64_t, int64_t,
                    const std::vector<int64_t>&>(),
           py::arg("format"), py::arg("mixing_format"), py::arg("n_passing"), py::arg("n_moving"),
           py::arg("hidden_widths"))
      .def_property_readonly("coupling_bytes",
                             [](const Layout& self) { return self.layout.coupling_bytes; })
      .def_property_readonly("mixing_bytes",
                             [](const Layout& self) { return self.layout.mixing_bytes; })
      .def_property_readonly("passing_width",
                             [](const Layout& self) { return self.layout.passing_width; })
      .def_property_readonly("state_width",
                             [](const Layout& self) { return self.layout.state_width; })
      .def("pack_coupling", by_address(&pack_coupling), release)
      .def("pack_mixing", by_address(&pack_mixing), release);

  py::class_<PackedFlow, std::shared_ptr<PackedFlow>>(module, "Flow")
      .def(py::init<std::shared_ptr<Layout>, const std::string&, const std::string&,
                    const std::vector<Step>&>(),
           py::arg("layout"), py::arg("direction"), py::arg("activation"), py::arg("steps"))
      .def_property_readonly("stash_row_bytes",
                             [](const PackedFlow& self) {
                               return dds::stash_row_bytes(self.flow.layout, self.flow.n_steps);
                             })
      .def(
          "scratch_bytes",
          [](const PackedFlow& self, int64_t n_groups, int64_t n_rows, int n_threads) {
            return dds::scratch_bytes(self.flow, {n_groups, n_rows}, n_threads);
          },
          py::arg("n_groups"), py::arg("n_rows"), py::arg("n_threads"),
          "What a pass allocates while it runs.")
      .def("forward", by_address(&forward), release)
      .def("backward", by_address(&backward), release);

  bind_search(module);
  bind_nmf(module);
}
