// dds_fast._cpu: the CPU kernels, on addresses and sizes. Shapes, dtypes and strides are checked in
// Python; nothing here owns memory.
#include "bindings.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "bindings_flow.h"
#include "bindings_nmf.h"
#include "bindings_staged.h"
#include "cpu_features.h"
#include "flow.h"
#include "huge_pages.h"
#include "kernel_table.h"
#include "packed_weights.h"
#include "registers.h"
#include "search.h"

namespace py = pybind11;

namespace {

using dds::Address;
using dds::Layout;
using dds::PackedFlow;
using dds::parse;
using dds::parse_format;
using dds::pointer;
using dds::Step;

std::vector<const float*> pointers(const std::vector<Address>& addresses) {
  std::vector<const float*> result;
  for (Address address : addresses) result.push_back(pointer<const float>(address));
  return result;
}

// With addresses of 0: all rows.
dds::Batch batch(int64_t n_groups, int64_t n_rows, Address offsets = 0, Address listed = 0) {
  return {n_groups, n_rows, pointer<const int64_t>(offsets), pointer<const int64_t>(listed)};
}

std::optional<std::string> stop_reason(const dds::Schedule& schedule) {
  switch (schedule.stop()) {
    case dds::Stop::none:
      return std::nullopt;
    case dds::Stop::max_steps:
      return "max_steps";
    case dds::Stop::converged:
      return "converged";
    case dds::Stop::diverged:
      return "diverged";
    case dds::Stop::non_finite:
      return "non-finite";
  }
  return std::nullopt;
}

// A search with the flow and the schedule that it refers to. The tensors come by name.
struct BoundSearch {
  BoundSearch(std::shared_ptr<PackedFlow> flow, std::shared_ptr<dds::Schedule> schedule,
              const py::kwargs& named)
      : flow(std::move(flow)),
        schedule(std::move(schedule)),
        search(this->flow->flow, tensors(named), *this->schedule, named["n_threads"].cast<int>()) {}

  BoundSearch(const BoundSearch&) = delete;

  static dds::SearchTensors tensors(const py::kwargs& named) {
    const auto number = [&](const char* name) { return named[name].cast<int64_t>(); };
    const auto weight = [&](const char* name) { return named[name].cast<double>(); };
    const auto floats = [&](const char* name) {
      return pointer<float>(named[name].cast<Address>());
    };
    const auto bytes = [&](const char* name) { return pointer<char>(named[name].cast<Address>()); };
    dds::SearchTensors t = {};
    t.n_features = number("n_features");
    t.target = floats("target");
    t.penalty = weight("penalty");
    t.sparsity = weight("sparsity");
    t.epsilon = static_cast<float>(weight("epsilon"));
    t.products = parse_format(named["products"].cast<std::string>());
    t.batch = batch(number("n_groups"), number("n_rows"), named["offsets"].cast<Address>(),
                    named["listed"].cast<Address>());
    t.latents.data_likelihood = named["data_likelihood"].cast<bool>();
    t.latents.n_fixed = number("n_fixed");
    t.latents.latents = floats("latents");
    t.latents.first_moment = floats("latents_first_moment");
    t.latents.second_moment = floats("latents_second_moment");
    t.latents.entries = floats("entries");
    t.latents.constants = floats("constants");
    t.latents.log_likelihoods = floats("log_likelihoods");
    t.latents.stash = bytes("stash");
    t.activations.rows = number("n_activations");
    t.activations.frames = number("n_frames");
    t.activations.per_frame = named["per_frame"].cast<bool>();
    t.activations.activations = floats("activations");
    t.activations.first_moment = floats("activations_first_moment");
    t.activations.second_moment = floats("activations_second_moment");
    t.activations.active = floats("active");
    t.activations.sums = floats("sums");
    t.activations.total = floats("total");
    t.activations.attributed = floats("attributed");
    t.residual = floats("residual");
    t.gradient = floats("gradient");
    t.correlation = floats("correlation");
    t.likelihood_gradient = floats("likelihood_gradient");
    t.flow_scratch = bytes("flow_scratch");
    t.product_scratch = bytes("product_scratch");
    return t;
  }

  std::vector<double> advance(int64_t n_steps, int n_threads) {
    std::vector<double> costs;
    for (int64_t i = 0; i < n_steps && schedule->stop() == dds::Stop::none; ++i) {
      search.step(n_threads);
      costs.push_back(search.cost());
    }
    return costs;
  }

  std::shared_ptr<PackedFlow> flow;
  std::shared_ptr<dds::Schedule> schedule;
  dds::Search search;
};

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
          [](const PackedFlow& self, int64_t n_groups, int64_t n_rows, Address offsets,
             bool own_stash, int n_threads) {
            return dds::scratch_bytes(self.flow, batch(n_groups, n_rows, offsets), own_stash,
                                      n_threads);
          },
          py::arg("n_groups"), py::arg("n_rows"), py::arg("offsets"), py::arg("own_stash"),
          py::arg("n_threads"))
      .def(
          "forward",
          [](const PackedFlow& self, int64_t n_groups, int64_t n_rows, Address offsets,
             Address listed, Address in, Address out, Address log_det, Address stash,
             Address scratch, int n_threads) {
            dds::flow_forward(self.flow, batch(n_groups, n_rows, offsets, listed),
                              {pointer<const float>(in), pointer<float>(out),
                               pointer<float>(log_det), pointer<char>(stash)},
                              pointer<char>(scratch), n_threads);
          },
          release, py::arg("n_groups"), py::arg("n_rows"), py::arg("offsets"), py::arg("listed"),
          py::arg("in"), py::arg("out"), py::arg("log_det"), py::arg("stash"), py::arg("scratch"),
          py::arg("n_threads"))
      .def(
          "backward",
          [](const PackedFlow& self, int64_t n_groups, int64_t n_rows, Address stash,
             Address grad_out, Address grad_log_det, Address grad_in, Address scratch,
             int n_threads) {
            dds::flow_backward(self.flow, batch(n_groups, n_rows),
                               {pointer<const char>(stash), pointer<const float>(grad_out),
                                pointer<const float>(grad_log_det), pointer<float>(grad_in)},
                               pointer<char>(scratch), n_threads);
          },
          release, py::arg("n_groups"), py::arg("n_rows"), py::arg("stash"), py::arg("grad_out"),
          py::arg("grad_log_det"), py::arg("grad_in"), py::arg("scratch"), py::arg("n_threads"));

  using dds::Schedule;
  py::class_<Schedule, std::shared_ptr<Schedule>>(
      module, "Schedule",
      "When a search halves its steps and when it stops; costs go to `observe`.")
      .def(py::init<double, int64_t, int64_t, double, int64_t, double>(), py::arg("step_size"),
           py::arg("max_steps"), py::arg("patience"), py::arg("factor"), py::arg("max_increases"),
           py::arg("tolerance"))
      .def("observe", &Schedule::observe, py::arg("cost"))
      .def_property_readonly("step_size", &Schedule::step_size)
      .def_property_readonly("stop_reason", &stop_reason, "None while the search goes on.");

  py::class_<BoundSearch>(
      module, "Search",
      "A search for latent codes and activations. Constructing it evaluates the "
      "objective.")
      .def(py::init<std::shared_ptr<PackedFlow>, std::shared_ptr<Schedule>, const py::kwargs&>(),
           py::arg("flow"), py::arg("schedule"))
      .def(
          "advance",
          [](BoundSearch& self, int64_t n_steps, int n_threads) {
            return self.advance(n_steps, n_threads);
          },
          release, py::arg("n_steps"), py::arg("n_threads"),
          "Up to `n_steps` update steps, fewer if the schedule stops; returns their costs.")
      .def_property_readonly("cost", [](const BoundSearch& self) { return self.search.cost(); });
  module.def(
      "search_product_bytes",
      [](const std::string& format, int64_t n_entries, int64_t n_frames, int64_t n_features,
         int n_threads) {
        return dds::search_product_bytes(parse_format(format), n_entries, n_frames, n_features,
                                         n_threads);
      },
      py::arg("format"), py::arg("n_entries"), py::arg("n_frames"), py::arg("n_features"),
      py::arg("n_threads"));

  module.def(
      "matrix_product",
      [](const std::string& format, int64_t m, int64_t k, int64_t n, Address a, int64_t a_stride,
         bool a_transposed, Address b, int64_t b_stride, bool b_transposed, Address subtrahend,
         Address c, Address scratch, int n_threads) {
        dds::matrix_product(parse_format(format),
                            {m,
                             k,
                             n,
                             {pointer<const float>(a), a_stride, a_transposed},
                             {pointer<const float>(b), b_stride, b_transposed},
                             pointer<const float>(subtrahend),
                             pointer<float>(c)},
                            pointer<char>(scratch), n_threads);
      },
      release, py::arg("format"), py::arg("m"), py::arg("k"), py::arg("n"), py::arg("a"),
      py::arg("a_stride"), py::arg("a_transposed"), py::arg("b"), py::arg("b_stride"),
      py::arg("b_transposed"), py::arg("subtrahend"), py::arg("c"), py::arg("scratch"),
      py::arg("n_threads"), "A product of the search by itself, for tests and benchmarks.");
  module.def(
      "matrix_product_bytes",
      [](const std::string& format, int64_t k, int64_t n, int n_threads) {
        return dds::matrix_product_bytes(parse_format(format), k, n, n_threads);
      },
      py::arg("format"), py::arg("k"), py::arg("n"), py::arg("n_threads"));
  module.def(
      "frame_residual",
      [](Address entries, Address activations, Address target, int64_t n_sources, int64_t n_frames,
         int64_t n_features, Address residual, int n_threads) {
        const auto* values = pointer<const float>(entries);
        dds::sparse_residual(dds::Entries::of_each_frame(values, n_frames, n_features),
                             {pointer<const float>(activations), n_sources, n_frames},
                             pointer<const float>(target), pointer<float>(residual), n_threads);
      },
      release, py::arg("entries"), py::arg("activations"), py::arg("target"), py::arg("n_sources"),
      py::arg("n_frames"), py::arg("n_features"), py::arg("residual"), py::arg("n_threads"),
      "A part of the search by itself, for benchmarks.");

  module.def(
      "multiply_registers",
      [](const std::string& format, int64_t rounds, int n_threads) {
        return dds::multiply_registers(parse_format(format), rounds, n_threads);
      },
      release, py::arg("format"), py::arg("rounds"), py::arg("n_threads"),
      "Multiply-adds on registers alone, for benchmarks; returns how many.");

  bind_nmf(module);
  bind_staged(module);

  module.def("elementwise", &elementwise, release, py::arg("function"), py::arg("x"), py::arg("y"),
             py::arg("n"), "One of the kernels' own functions over an array, for tests.");
}
