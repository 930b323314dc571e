// The searches of dds_fast._cpu, and parts of them for tests and benchmarks.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "bindings.h"
#include "bindings_flow.h"
#include "matrix_product.h"
#include "objective.h"
#include "search.h"
#include "staged.h"

namespace py = pybind11;

namespace {

using dds::Address;
using dds::by_address;
using dds::PackedFlow;
using dds::pointer;

// Keyword arguments as members of a struct take them; of a tensor, its address.
class Named {
 public:
  explicit Named(const py::kwargs& arguments) : arguments_(arguments) {}

  struct Argument {
    py::object value;

    template <class T>
    operator T() const {
      if constexpr (std::is_pointer_v<T>) {
        const auto address = value.attr("data_ptr")().template cast<Address>();
        return pointer<std::remove_pointer_t<T>>(address);
      } else if constexpr (std::is_same_v<T, dds::Format>) {
        return dds::parse_format(value.cast<std::string>());
      } else {
        return value.cast<T>();
      }
    }
  };

  Argument operator[](const char* name) const { return {arguments_[name]}; }

 private:
  const py::kwargs& arguments_;
};

dds::CodeSettings code_settings(const Named& named) {
  return {.n_groups = named["n_groups"],
          .n_rows = named["n_rows"],
          .most_stash_bytes = named["most_stash_bytes"]};
}

dds::CodeTensors codes(const Named& named) {
  return {.data_likelihood = named["data_likelihood"],
          .n_fixed = named["n_fixed"],
          .codes = named["codes"],
          .entries = named["entries"],
          .constants = named["constants"],
          .log_likelihoods = named["log_likelihoods"]};
}

dds::SearchTensors search_tensors(const Named& named) {
  return {.n_features = named["n_features"],
          .n_activations = named["n_activations"],
          .n_frames = named["n_frames"],
          .per_frame = named["per_frame"],
          .penalty = named["penalty"],
          .sparsity = named["sparsity"],
          .epsilon = named["epsilon"],
          .products = named["products"],
          .target = named["target"],
          .activations = named["activations"],
          .active = named["active"]};
}

dds::StagedSettings staged_settings(const Named& named) {
  return {.penalty = named["penalty"],
          .epsilon = named["epsilon"],
          .sparsity = named["sparsity"],
          .fixed_sparsity = named["fixed_sparsity"],
          .smoothing = named["smoothing"],
          .floor = named["floor"],
          .dead = named["dead"],
          .drop_share = named["drop_share"]};
}

dds::StagedTensors staged_tensors(const Named& named) {
  return {.n_sources = named["n_sources"],
          .n_entries = named["n_entries"],
          .n_frames = named["n_frames"],
          .n_features = named["n_features"],
          .products = named["products"],
          .target = named["target"],
          .entries = named["entries"],
          .log_likelihoods = named["log_likelihoods"],
          .activations = named["activations"],
          .labels = named["labels"],
          .rows = named["rows"]};
}

// With the flow and the tensors that it refers to.
template <class Native>
struct Bound {
  std::shared_ptr<PackedFlow> flow;
  py::kwargs arguments;
  Native native;
};

void matrix_product(const std::string& format, int64_t m, int64_t k, int64_t n, const float* a,
                    int64_t a_stride, bool a_transposed, const float* b, int64_t b_stride,
                    bool b_transposed, const float* subtrahend, float* c, int n_threads) {
  dds::Buffer scratch;
  dds::matrix_product(dds::parse_format(format),
                      {.m = m,
                       .k = k,
                       .n = n,
                       .a = {a, a_stride, a_transposed},
                       .b = {b, b_stride, b_transposed},
                       .subtrahend = subtrahend,
                       .c = c},
                      scratch, n_threads);
}

void frame_residual(const float* entries, const float* activations, const float* target,
                    int64_t n_sources, int64_t n_frames, int64_t n_features, float* residual,
                    int n_threads) {
  dds::sparse_residual(dds::Entries::of_each_frame(entries, n_frames, n_features),
                       {activations, n_sources, n_frames}, target, residual, n_threads);
}

}  // namespace

void bind_search(py::module_& module) {
  const auto release = py::call_guard<py::gil_scoped_release>();

  using Search = Bound<dds::Search>;
  py::class_<Search>(module, "Search",
                     "A search for latent codes and activations. Constructing it decodes and "
                     "evaluates the objective.")
      .def(py::init([](std::shared_ptr<PackedFlow> flow, int n_threads, const py::kwargs& args) {
             const Named named(args);
             return std::unique_ptr<Search>(
                 new Search{flow, args,
                            dds::Search(flow->flow, code_settings(named), codes(named),
                                        search_tensors(named), n_threads)});
           }),
           py::arg("flow"), py::arg("n_threads"))
      .def(
          "step",
          [](Search& self, double step_size, int64_t n, int n_threads) {
            return self.native.step(step_size, n, n_threads);
          },
          release, py::arg("step_size"), py::arg("n"), py::arg("n_threads"),
          "The n-th update step; returns its cost.")
      .def(
          "keep",
          [](Search& self, Address alive, int n_threads) {
            self.native.keep(pointer<const char>(alive), n_threads);
          },
          release, py::arg("alive"), py::arg("n_threads"),
          "Goes on with the entries that are True; the others stay as they are.")
      .def_property_readonly("cost", [](const Search& self) { return self.native.cost(); });

  using FixedStage = Bound<dds::FixedStage>;
  py::class_<FixedStage>(module, "FixedStage",
                         "Updates of the activations of entries that stay as they are.")
      .def(py::init([](int n_threads, const py::kwargs& args) {
             const Named named(args);
             return std::unique_ptr<FixedStage>(new FixedStage{
                 nullptr, args,
                 dds::FixedStage(staged_settings(named), staged_tensors(named), n_threads)});
           }),
           py::arg("n_threads"))
      .def(
          "steps",
          [](FixedStage& self, const std::vector<int64_t>& n_updates, bool reweighted,
             int n_threads) { return self.native.steps(n_updates, reweighted, n_threads); },
          release, py::arg("n_updates"), py::arg("reweighted"), py::arg("n_threads"),
          "So many updates at each step; returns a cost per step.")
      .def_property_readonly(
          "n_entries", [](const FixedStage& self) { return self.native.n_entries(); },
          "Those that still sound.")
      .def_property_readonly("cost", [](const FixedStage& self) { return self.native.cost(); });

  using AdaptedStage = Bound<dds::AdaptedStage>;
  py::class_<AdaptedStage>(module, "AdaptedStage",
                           "Steps of Adam on the codes, each followed by updates of the "
                           "activations. Constructing it decodes.")
      .def(py::init([](std::shared_ptr<PackedFlow> flow, int n_threads, const py::kwargs& args) {
             const Named named(args);
             return std::unique_ptr<AdaptedStage>(new AdaptedStage{
                 flow, args,
                 dds::AdaptedStage(flow->flow, staged_settings(named), staged_tensors(named),
                                   code_settings(named), codes(named), n_threads)});
           }),
           py::arg("flow"), py::arg("n_threads"))
      .def(
          "steps",
          [](AdaptedStage& self, int64_t first, const std::vector<double>& step_sizes,
             int64_t n_updates, int64_t look_every, int n_threads) {
            return self.native.steps(first, step_sizes, n_updates, look_every, n_threads);
          },
          release, py::arg("first"), py::arg("step_sizes"), py::arg("n_updates"),
          py::arg("look_every"), py::arg("n_threads"),
          "Steps from the `first` on, with these step sizes; returns a cost per step.")
      .def_property_readonly(
          "n_entries", [](const AdaptedStage& self) { return self.native.n_entries(); },
          "Those that still sound.");

  module.def("matrix_product", by_address(&matrix_product), release,
             "A product of the search by itself, for tests and benchmarks.");
  module.def("frame_residual", by_address(&frame_residual), release,
             "A part of the search by itself, for benchmarks.");
}
