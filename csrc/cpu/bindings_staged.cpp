// The stages of the staged search of dds_fast._cpu. Their tensors come by name.
#include "bindings_staged.h"

#include <pybind11/stl.h>

#include "bindings_flow.h"
#include "staged.h"

namespace py = pybind11;

namespace {

using dds::Address;
using dds::PackedFlow;
using dds::pointer;

// The arguments of a call by their names.
class Named {
 public:
  explicit Named(const py::kwargs& named) : named_(named) {}

  template <class Number>
  Number number(const char* name) const {
    return named_[name].cast<Number>();
  }

  template <class T>
  T* memory(const char* name) const {
    return pointer<T>(number<Address>(name));
  }

 private:
  const py::kwargs& named_;
};

dds::StagedSettings settings(const Named& named) {
  dds::StagedSettings s = {};
  s.penalty = named.number<double>("penalty");
  s.epsilon = named.number<float>("epsilon");
  s.sparsity = named.number<double>("sparsity");
  s.fixed_sparsity = named.number<double>("fixed_sparsity");
  s.smoothing = named.number<int64_t>("smoothing");
  s.floor = named.number<double>("floor");
  s.dead = named.number<double>("dead");
  s.drop_share = named.number<double>("drop_share");
  return s;
}

dds::StagedTensors tensors(const Named& named) {
  dds::StagedTensors t = {};
  t.n_sources = named.number<int64_t>("n_sources");
  t.n_entries = named.number<int64_t>("n_entries");
  t.n_frames = named.number<int64_t>("n_frames");
  t.n_features = named.number<int64_t>("n_features");
  t.products = dds::parse_format(named.number<std::string>("products"));
  t.target = named.memory<float>("target");
  t.entries = named.memory<float>("entries");
  t.log_likelihoods = named.memory<float>("log_likelihoods");
  t.activations = named.memory<float>("activations");
  t.labels = named.memory<int32_t>("labels");
  t.rows = named.memory<int64_t>("rows");
  t.norms = named.memory<float>("norms");
  t.numerator = named.memory<float>("numerator");
  t.gram = named.memory<float>("gram");
  t.residual = named.memory<float>("residual");
  t.weights = named.memory<float>("weights");
  t.sums = named.memory<float>("sums");
  t.total = named.memory<float>("total");
  t.attributed = named.memory<float>("attributed");
  t.product_scratch = named.memory<char>("product_scratch");
  return t;
}

dds::CodeTensors codes(const Named& named) {
  dds::CodeTensors c = {};
  c.n_groups = named.number<int64_t>("n_groups");
  c.n_fixed = named.number<int64_t>("n_fixed");
  c.data_likelihood = named.number<bool>("data_likelihood");
  c.codes = named.memory<float>("codes");
  c.first_moment = named.memory<float>("first_moment");
  c.second_moment = named.memory<float>("second_moment");
  c.gradient = named.memory<float>("gradient");
  c.likelihood_gradient = named.memory<float>("likelihood_gradient");
  c.log_dets = named.memory<float>("log_dets");
  c.constants = named.memory<float>("constants");
  c.stash = named.memory<char>("stash");
  return c;
}

// With the flow that it refers to.
struct BoundAdaptedStage {
  BoundAdaptedStage(std::shared_ptr<PackedFlow> flow, int n_threads, const py::kwargs& kwargs)
      : flow(std::move(flow)),
        stage(this->flow->flow, settings(Named(kwargs)), tensors(Named(kwargs)),
              codes(Named(kwargs)), n_threads) {}

  std::shared_ptr<PackedFlow> flow;
  dds::AdaptedStage stage;
};

}  // namespace

void bind_staged(py::module_& module) {
  const auto release = py::call_guard<py::gil_scoped_release>();

  module.def(
      "staged_product_bytes",
      [](const std::string& format, int64_t n_entries, int64_t n_frames, int64_t n_features,
         int n_threads) {
        return dds::staged_product_bytes(dds::parse_format(format), n_entries, n_frames, n_features,
                                         n_threads);
      },
      py::arg("format"), py::arg("n_entries"), py::arg("n_frames"), py::arg("n_features"),
      py::arg("n_threads"));

  py::class_<dds::FixedStage>(module, "FixedStage",
                              "Updates of the activations of entries that stay as they are.")
      .def(py::init([](int n_threads, const py::kwargs& kwargs) {
             return dds::FixedStage(settings(Named(kwargs)), tensors(Named(kwargs)), n_threads);
           }),
           py::arg("n_threads"))
      .def("steps", &dds::FixedStage::steps, release, py::arg("n_updates"), py::arg("reweighted"),
           py::arg("n_threads"), "So many updates at each step; returns a cost per step.")
      .def_property_readonly("n_entries", &dds::FixedStage::n_entries, "Those that still sound.")
      .def_property_readonly("cost", &dds::FixedStage::cost);

  py::class_<BoundAdaptedStage>(module, "AdaptedStage",
                                "Steps of Adam on the codes, each followed by updates of the "
                                "activations. Constructing it decodes.")
      .def(py::init<std::shared_ptr<PackedFlow>, int, const py::kwargs&>(), py::arg("flow"),
           py::arg("n_threads"))
      .def(
          "steps",
          [](BoundAdaptedStage& self, int64_t first, const std::vector<double>& step_sizes,
             int64_t n_updates, int64_t look_every, int n_threads) {
            return self.stage.steps(first, step_sizes, n_updates, look_every, n_threads);
          },
          release, py::arg("first"), py::arg("step_sizes"), py::arg("n_updates"),
          py::arg("look_every"), py::arg("n_threads"),
          "Steps from the `first` on, with these step sizes; returns a cost per step.")
      .def_property_readonly(
          "n_entries", [](const BoundAdaptedStage& self) { return self.stage.n_entries(); },
          "Those that still sound.");
}
