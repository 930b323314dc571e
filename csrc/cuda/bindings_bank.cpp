#include "bindings_bank.h"

#include <pybind11/stl.h>

#include <optional>
#include <string>

#include "bank_arguments.h"
#include "bindings.h"

namespace py = pybind11;

namespace {

using dds::Address;
using dds::BankArguments;
using dds::BankPlan;
using dds::BankShape;
using dds::by_address;
using dds::parse;
using dds::Pass;
using dds::pointer;
using dds::Precision;

Precision parse_precision(const std::string& name) {
  return parse<Precision>("precision", name,
                          {{"float32", Precision::float32},
                           {"tf32", Precision::tf32},
                           {"bfloat16", Precision::bfloat16}});
}

// What the launches share. With `order`, the launch is emulated on the host.
struct Launch {
  BankArguments arguments;
  void* stream;
  std::optional<uint64_t> order;
};

Launch make_launch(const std::string& direction, const std::string& activation, int32_t n_blocks,
                   const int64_t* groups, const char* weights, const char* transposed,
                   const char* records, const float* constants, char* stash, void* stream,
                   std::optional<uint64_t> order) {
  return {.arguments = {.direction = dds::parse_direction(direction),
                        .activation = dds::parse_activation(activation),
                        .n_blocks = n_blocks,
                        .groups = groups,
                        .weights = weights,
                        .transposed = transposed,
                        .records = records,
                        .constants = constants,
                        .stash = stash},
          .stream = stream,
          .order = order};
}

void run(Pass pass, const BankPlan& plan, Launch launch) {
  launch.arguments.plan = plan;
  py::gil_scoped_release release;
  if (launch.order) {
    dds::bank_emulate(pass, launch.arguments, *launch.order);
  } else {
    dds::bank_launch(pass, launch.arguments, launch.stream);
  }
}

void forward(const BankPlan& plan, Launch launch, const float* in, float* out, float* log_det) {
  launch.arguments.forward = {.in = in, .out = out, .log_det = log_det};
  run(Pass::forward, plan, launch);
}

void backward(const BankPlan& plan, Launch launch, const float* grad_out, const float* grad_log_det,
              float* grad_in) {
  launch.arguments.backward = {
      .grad_out = grad_out, .grad_log_det = grad_log_det, .grad_in = grad_in};
  run(Pass::backward, plan, launch);
}

void update(const BankPlan& plan, Launch launch, const float* grad_entries,
            const float* row_weights, const float* grad_log_likelihoods, const float* scalars,
            const int32_t* stopped, bool data_likelihood, int32_t n_fixed, float* latents,
            float* first_moment, float* second_moment, float* entries, float* log_likelihoods) {
  launch.arguments.update = {.grad_entries = grad_entries,
                             .row_weights = row_weights,
                             .grad_log_likelihoods = grad_log_likelihoods,
                             .scalars = scalars,
                             .stopped = stopped,
                             .data_likelihood = data_likelihood,
                             .n_fixed = n_fixed,
                             .latents = latents,
                             .first_moment = first_moment,
                             .second_moment = second_moment,
                             .entries = entries,
                             .log_likelihoods = log_likelihoods};
  run(Pass::update, plan, launch);
}

}  // namespace

void bind_bank(py::module_& module) {
  module.attr("CHUNK_BYTES") = dds::kChunkBytes;
  module.attr("WEIGHT_BYTES") = dds::kWeightBytes;
  module.attr("PANEL_COLUMNS") = dds::kPanelColumns;
  module.def("record_bytes", &dds::record_bytes, py::arg("n_features"));

  py::class_<BankShape>(module, "Bank", "A flow bank as the kernels stream it.")
      .def(py::init([](const std::string& precision, int64_t n_features, int64_t n_passing,
                       const std::vector<int64_t>& hidden_widths, int64_t n_steps, int64_t n_ctas) {
             return dds::make_bank_shape(parse_precision(precision), n_features, n_passing,
                                         hidden_widths, n_steps, n_ctas);
           }),
           py::arg("precision"), py::arg("n_features"), py::arg("n_passing"),
           py::arg("hidden_widths"), py::arg("n_steps"), py::arg("n_ctas"))
      .def_readonly("n_ctas", &BankShape::n_ctas)
      .def(
          "n_chunks",
          [](const BankShape& self, bool transposed) {
            return (transposed ? self.backward_chunks : self.forward_chunks) * self.n_ctas;
          },
          py::arg("transposed"), "Of one group and step, all CTAs.")
      .def(
          "sources",
          [](const BankShape& self, bool transposed, Address weights, Address biases) {
            dds::bank_sources(self, transposed, pointer<int64_t>(weights),
                              pointer<int64_t>(biases));
          },
          py::arg("transposed"), py::arg("weights"), py::arg("biases"))
      .def(
          "plan",
          [](const BankShape& self, const std::string& pass, int64_t n_rows,
             int64_t shared_memory) {
            return dds::make_bank_plan(self,
                                       parse<Pass>("pass", pass,
                                                   {{"forward", Pass::forward},
                                                    {"backward", Pass::backward},
                                                    {"update", Pass::update}}),
                                       n_rows, shared_memory);
          },
          py::arg("pass"), py::arg("n_rows"), py::arg("shared_memory"));

  py::class_<BankPlan>(module, "Plan", "One launch over a bank.")
      .def_property_readonly("stash_bytes", &dds::bank_stash_bytes, "Of one group and step.")
      .def_readonly("n_row_blocks", &BankPlan::n_row_blocks)
      .def_readonly("row_tiles", &BankPlan::row_tiles)
      .def_readonly("n_splits", &BankPlan::n_splits)
      .def_readonly("n_stages", &BankPlan::n_stages)
      .def_readonly("shared_bytes", &BankPlan::shared_bytes);

  py::class_<Launch>(module, "Launch").def(py::init(by_address(&make_launch)));
  module.def("bank_forward", by_address(&forward));
  module.def("bank_backward", by_address(&backward));
  module.def("bank_update", by_address(&update));
}
