// dds_fast._cpu: the CPU kernels, on addresses and sizes. Shapes, dtypes and strides are checked in
// Python; nothing here owns memory.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "bindings_address.h"
#include "bindings_cpu_nmf.h"
#include "cpu/kernel_table.h"
#include "dds/cpu_features.h"
#include "dds/flow.h"
#include "dds/huge_pages.h"
#include "dds/matrix_product.h"
#include "dds/objective.h"
#include "dds/packed_weights.h"

namespace py = pybind11;

namespace {

using dds::Address;
using dds::pointer;

std::vector<const float*> pointers(const std::vector<Address>& addresses) {
  std::vector<const float*> result;
  for (Address address : addresses) result.push_back(pointer<const float>(address));
  return result;
}

template <class Value>
Value parse(const char* what, const std::string& name,
            std::initializer_list<std::pair<const char*, Value>> values) {
  for (const auto& [known, value] : values) {
    if (name == known) return value;
  }
  throw std::invalid_argument(std::string("unknown ") + what + " '" + name + "'");
}

// A layout with the layers that it points to.
struct Layout {
  Layout(const std::string& format, int64_t n_passing, int64_t n_moving,
         const std::vector<int64_t>& hidden_widths)
      : layout(dds::make_layout(parse<dds::Format>("format", format,
                                                   {{"float32", dds::Format::float32},
                                                    {"bfloat16", dds::Format::bfloat16},
                                                    {"split", dds::Format::split}}),
                                n_passing, n_moving, hidden_widths, layers)) {}

  Layout(const Layout&) = delete;

  std::vector<dds::PackedLayer> layers;
  dds::FlowLayout layout;
};

// coupling, alpha, beta, permutation, adjoint, mixing
using Step = std::tuple<Address, Address, Address, Address, Address, Address>;

// A flow in one direction, with the steps that it points to.
struct PackedFlow {
  PackedFlow(std::shared_ptr<Layout> owner, const std::string& direction,
             const std::string& activation, const std::vector<Step>& addresses)
      : owner(std::move(owner)) {
    for (const auto& [coupling, alpha, beta, permutation, adjoint, mixing] : addresses) {
      steps.push_back({pointer<const char>(coupling), pointer<const float>(alpha),
                       pointer<const float>(beta), pointer<const int32_t>(permutation),
                       pointer<const int32_t>(adjoint), pointer<const char>(mixing)});
    }
    flow.layout = this->owner->layout;
    flow.direction = parse<dds::Direction>(
        "direction", direction,
        {{"encode", dds::Direction::encode}, {"decode", dds::Direction::decode}});
    flow.activation = parse<dds::Activation>(
        "activation", activation,
        {{"selu", dds::Activation::selu}, {"leaky_relu", dds::Activation::leaky_relu}});
    flow.steps = steps.data();
    flow.n_steps = static_cast<int64_t>(steps.size());
  }

  PackedFlow(const PackedFlow&) = delete;

  std::shared_ptr<Layout> owner;
  std::vector<dds::FlowStep> steps;
  dds::Flow flow;
};

dds::Batch batch(int64_t n_groups, int64_t n_rows, Address groups) {
  return {n_groups, n_rows, pointer<const int64_t>(groups)};
}

std::vector<std::string> levels() {
  std::vector<std::string> names;
  for (dds::Level level : dds::supported_levels()) names.push_back(dds::level_name(level));
  return names;
}

void elementwise(const std::string& function, Address x, Address y, int64_t n) {
  const dds::Kernels& kernels = dds::active_kernels();
  using Function = void (*)(const float*, float*, int64_t);
  parse<Function>(
      "function", function,
      {{"exp", kernels.exp}, {"expm1_negative", kernels.expm1_negative}, {"tanh", kernels.tanh}})(
      pointer<const float>(x), pointer<float>(y), n);
}

}  // namespace

PYBIND11_MODULE(_cpu, module) {
  const auto release = py::call_guard<py::gil_scoped_release>();

  module.def("levels", &levels, "Instruction-set levels that can run here, lowest first.");
  module.def(
      "level", [] { return dds::level_name(dds::active_level()); },
      "The level in use. ValueError if DDS_FAST_CPU_ISA asks for one that cannot run.");
  module.def("set_level", &dds::set_level, py::arg("name"));

  module.def(
      "prefer_huge_pages",
      [](Address memory, int64_t bytes) { dds::prefer_huge_pages(pointer<void>(memory), bytes); },
      py::arg("memory"), py::arg("bytes"),
      "Asks for huge pages behind fresh memory; the system may decline.");

  py::class_<Layout, std::shared_ptr<Layout>>(module, "Layout")
      .def(py::init<const std::string&, int64_t, int64_t, const std::vector<int64_t>&>(),
           py::arg("format"), py::arg("n_passing"), py::arg("n_moving"), py::arg("hidden_widths"))
      .def_property_readonly("coupling_bytes",
                             [](const Layout& self) { return self.layout.coupling_bytes; })
      .def_property_readonly("mixing_bytes",
                             [](const Layout& self) { return self.layout.mixing_bytes; })
      .def_property_readonly("passing_width",
                             [](const Layout& self) { return self.layout.passing_width; })
      .def_property_readonly("state_width",
                             [](const Layout& self) { return self.layout.state_width; })
      .def(
          "pack_coupling",
          [](const Layout& self, int64_t groups, const std::vector<Address>& weights,
             const std::vector<Address>& biases, Address packed, int n_threads) {
            dds::pack_coupling(self.layout, groups, pointers(weights), pointers(biases),
                               pointer<char>(packed), n_threads);
          },
          release, py::arg("groups"), py::arg("weights"), py::arg("biases"), py::arg("packed"),
          py::arg("n_threads"))
      .def(
          "pack_mixing",
          [](const Layout& self, int64_t groups, Address matrix, Address bias, Address packed,
             int n_threads) {
            dds::pack_mixing(self.layout, groups, pointer<const float>(matrix),
                             pointer<const float>(bias), pointer<char>(packed), n_threads);
          },
          release, py::arg("groups"), py::arg("matrix"), py::arg("bias"), py::arg("packed"),
          py::arg("n_threads"));

  py::class_<PackedFlow>(module, "Flow")
      .def(py::init<std::shared_ptr<Layout>, const std::string&, const std::string&,
                    const std::vector<Step>&>(),
           py::arg("layout"), py::arg("direction"), py::arg("activation"), py::arg("steps"))
      .def_property_readonly("stash_row_bytes",
                             [](const PackedFlow& self) {
                               return dds::stash_row_bytes(self.flow.layout, self.flow.n_steps);
                             })
      .def(
          "scratch_bytes",
          [](const PackedFlow& self, int64_t n_groups, int64_t n_rows, bool own_stash,
             int n_threads) {
            return dds::scratch_bytes(self.flow, batch(n_groups, n_rows, 0), own_stash, n_threads);
          },
          py::arg("n_groups"), py::arg("n_rows"), py::arg("own_stash"), py::arg("n_threads"))
      .def(
          "forward",
          [](const PackedFlow& self, int64_t n_groups, int64_t n_rows, Address groups, Address in,
             Address out, Address log_det, Address stash, Address scratch, int n_threads) {
            dds::flow_forward(self.flow, batch(n_groups, n_rows, groups),
                              {pointer<const float>(in), pointer<float>(out),
                               pointer<float>(log_det), pointer<char>(stash)},
                              pointer<char>(scratch), n_threads);
          },
          release, py::arg("n_groups"), py::arg("n_rows"), py::arg("groups"), py::arg("in"),
          py::arg("out"), py::arg("log_det"), py::arg("stash"), py::arg("scratch"),
          py::arg("n_threads"))
      .def(
          "backward",
          [](const PackedFlow& self, int64_t n_groups, int64_t n_rows, Address stash,
             Address grad_out, Address grad_log_det, Address grad_in, Address scratch,
             int n_threads) {
            dds::flow_backward(self.flow, batch(n_groups, n_rows, 0),
                               {pointer<const char>(stash), pointer<const float>(grad_out),
                                pointer<const float>(grad_log_det), pointer<float>(grad_in)},
                               pointer<char>(scratch), n_threads);
          },
          release, py::arg("n_groups"), py::arg("n_rows"), py::arg("stash"), py::arg("grad_out"),
          py::arg("grad_log_det"), py::arg("grad_in"), py::arg("scratch"), py::arg("n_threads"))
      .def(
          "update",
          [](const PackedFlow& self, int64_t n_groups, int64_t n_rows, Address groups,
             Address grad_entries, Address row_weights, Address grad_log_likelihoods,
             float grad_scale, bool data_likelihood, int64_t n_fixed, float step_size,
             float rms_correction, Address latents, Address first_moment, Address second_moment,
             Address entries, Address constants, Address log_likelihoods, Address stash,
             Address scratch, int n_threads) {
            dds::LatentTensors tensors;
            tensors.grad_entries = pointer<const float>(grad_entries);
            tensors.row_weights = pointer<const float>(row_weights);
            tensors.grad_log_likelihoods = pointer<const float>(grad_log_likelihoods);
            tensors.grad_scale = grad_scale;
            tensors.data_likelihood = data_likelihood;
            tensors.n_fixed = n_fixed;
            tensors.step_size = step_size;
            tensors.rms_correction = rms_correction;
            tensors.latents = pointer<float>(latents);
            tensors.first_moment = pointer<float>(first_moment);
            tensors.second_moment = pointer<float>(second_moment);
            tensors.entries = pointer<float>(entries);
            tensors.constants = pointer<const float>(constants);
            tensors.log_likelihoods = pointer<float>(log_likelihoods);
            tensors.stash = pointer<char>(stash);
            dds::flow_update(self.flow, batch(n_groups, n_rows, groups), tensors,
                             pointer<char>(scratch), n_threads);
          },
          release, py::arg("n_groups"), py::arg("n_rows"), py::arg("groups"),
          py::arg("grad_entries"), py::arg("row_weights"), py::arg("grad_log_likelihoods"),
          py::arg("grad_scale"), py::arg("data_likelihood"), py::arg("n_fixed"),
          py::arg("step_size"), py::arg("rms_correction"), py::arg("latents"),
          py::arg("first_moment"), py::arg("second_moment"), py::arg("entries"),
          py::arg("constants"), py::arg("log_likelihoods"), py::arg("stash"), py::arg("scratch"),
          py::arg("n_threads"));

  module.def("matrix_product_bytes", &dds::matrix_product_bytes, py::arg("m"), py::arg("k"),
             py::arg("n"), py::arg("n_threads"));
  module.def(
      "matrix_product",
      [](int64_t m, int64_t k, int64_t n, Address a, Address b, Address c, Address scratch,
         int n_threads) {
        dds::matrix_product(
            {m, k, n, pointer<const float>(a), pointer<const float>(b), pointer<float>(c)},
            pointer<char>(scratch), n_threads);
      },
      release, py::arg("m"), py::arg("k"), py::arg("n"), py::arg("a"), py::arg("b"), py::arg("c"),
      py::arg("scratch"), py::arg("n_threads"));
  module.def(
      "sum_of_squares",
      [](Address x, int64_t rows, int64_t n, int n_threads) {
        return dds::sum_of_squares(pointer<const float>(x), rows, n, n_threads);
      },
      release, py::arg("x"), py::arg("rows"), py::arg("n"), py::arg("n_threads"));
  module.def(
      "frame_residual",
      [](Address entries, Address activations, Address target, int64_t n_sources, int64_t n_frames,
         int64_t n_features, Address residual, int n_threads) {
        dds::frame_residual(pointer<const float>(entries), pointer<const float>(activations),
                            pointer<const float>(target), n_sources, n_frames, n_features,
                            pointer<float>(residual), n_threads);
      },
      release, py::arg("entries"), py::arg("activations"), py::arg("target"), py::arg("n_sources"),
      py::arg("n_frames"), py::arg("n_features"), py::arg("residual"), py::arg("n_threads"));
  module.def(
      "frame_correlation",
      [](Address entries, Address residual, int64_t n_sources, int64_t n_frames, int64_t n_features,
         Address correlation, int n_threads) {
        dds::frame_correlation(pointer<const float>(entries), pointer<const float>(residual),
                               n_sources, n_frames, n_features, pointer<float>(correlation),
                               n_threads);
      },
      release, py::arg("entries"), py::arg("residual"), py::arg("n_sources"), py::arg("n_frames"),
      py::arg("n_features"), py::arg("correlation"), py::arg("n_threads"));
  module.def(
      "move_activations",
      [](int64_t rows, int64_t frames, Address correlation, float inverse_norm,
         Address log_likelihoods, bool per_frame, Address attributed, Address total, float penalty,
         float sparsity, float step_size, float rms_correction, Address activations,
         Address first_moment, Address second_moment, Address active, int n_threads) {
        dds::ActivationTensors tensors;
        tensors.rows = rows;
        tensors.frames = frames;
        tensors.correlation = pointer<const float>(correlation);
        tensors.inverse_norm = inverse_norm;
        tensors.log_likelihoods = pointer<const float>(log_likelihoods);
        tensors.per_frame = per_frame;
        tensors.attributed = pointer<const float>(attributed);
        tensors.total = pointer<const float>(total);
        tensors.penalty = penalty;
        tensors.sparsity = sparsity;
        tensors.step_size = step_size;
        tensors.rms_correction = rms_correction;
        tensors.activations = pointer<float>(activations);
        tensors.first_moment = pointer<float>(first_moment);
        tensors.second_moment = pointer<float>(second_moment);
        tensors.active = pointer<float>(active);
        dds::move_activations(tensors, n_threads);
      },
      release, py::arg("rows"), py::arg("frames"), py::arg("correlation"), py::arg("inverse_norm"),
      py::arg("log_likelihoods"), py::arg("per_frame"), py::arg("attributed"), py::arg("total"),
      py::arg("penalty"), py::arg("sparsity"), py::arg("step_size"), py::arg("rms_correction"),
      py::arg("activations"), py::arg("first_moment"), py::arg("second_moment"), py::arg("active"),
      py::arg("n_threads"));

  bind_nmf(module);

  module.def("elementwise", &elementwise, release, py::arg("function"), py::arg("x"), py::arg("y"),
             py::arg("n"), "One of the kernels' own functions over an array, for tests.");
}
