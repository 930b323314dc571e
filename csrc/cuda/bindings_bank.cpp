#include "bindings_bank.h"

#include <pybind11/stl.h>

#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>

#include "bank_arguments.h"
#include "bindings.h"
#include "scalar_maths.h"

namespace py = pybind11;

namespace {

using dds::Address;
using dds::BankArguments;
using dds::BankPlan;
using dds::BankShape;
using dds::Pass;
using dds::pointer;
using dds::Precision;

template <class Value>
Value parse(const char* what, const std::string& name,
            std::initializer_list<std::pair<const char*, Value>> values) {
  for (const auto& [known, value] : values) {
    if (name == known) return value;
  }
  throw std::invalid_argument(std::string("unknown ") + what + " '" + name + "'");
}

Precision parse_precision(const std::string& name) {
  return parse<Precision>("precision", name,
                          {{"float32", Precision::float32},
                           {"tf32", Precision::tf32},
                           {"bfloat16", Precision::bfloat16}});
}

// What the launches share. With `order`, the launch is emulated on the host.
struct Launch {
  std::string direction;
  std::string activation;
  int64_t n_blocks;
  Address groups;
  Address weights;
  Address transposed;
  Address records;
  Address constants;
  Address stash;
  Address stream;
  std::optional<uint64_t> order;
};

BankArguments arguments_of(const BankPlan& plan, const Launch& launch) {
  BankArguments arguments = {};
  arguments.plan = plan;
  arguments.direction = parse<dds::Direction>(
      "direction", launch.direction,
      {{"encode", dds::Direction::encode}, {"decode", dds::Direction::decode}});
  arguments.activation = parse<dds::Activation>(
      "activation", launch.activation,
      {{"selu", dds::Activation::selu}, {"leaky_relu", dds::Activation::leaky_relu}});
  arguments.n_blocks = static_cast<int32_t>(launch.n_blocks);
  arguments.groups = pointer<const int64_t>(launch.groups);
  arguments.weights = pointer<const char>(launch.weights);
  arguments.transposed = pointer<const char>(launch.transposed);
  arguments.records = pointer<const char>(launch.records);
  arguments.constants = pointer<const float>(launch.constants);
  arguments.stash = pointer<char>(launch.stash);
  return arguments;
}

void run(Pass pass, const BankArguments& arguments, const Launch& launch) {
  py::gil_scoped_release release;
  if (launch.order) {
    dds::bank_emulate(pass, arguments, *launch.order);
  } else {
    dds::bank_launch(pass, arguments, pointer<void>(launch.stream));
  }
}

void forward(const BankPlan& plan, const Launch& launch, Address in, Address out, Address log_det) {
  BankArguments arguments = arguments_of(plan, launch);
  arguments.forward.in = pointer<const float>(in);
  arguments.forward.out = pointer<float>(out);
  arguments.forward.log_det = pointer<float>(log_det);
  run(Pass::forward, arguments, launch);
}

void backward(const BankPlan& plan, const Launch& launch, Address grad_out, Address grad_log_det,
              Address grad_in) {
  BankArguments arguments = arguments_of(plan, launch);
  arguments.backward.grad_out = pointer<const float>(grad_out);
  arguments.backward.grad_log_det = pointer<const float>(grad_log_det);
  arguments.backward.grad_in = pointer<float>(grad_in);
  run(Pass::backward, arguments, launch);
}

void update(const BankPlan& plan, const Launch& launch, Address grad_entries, Address row_weights,
            Address grad_log_likelihoods, Address scalars, Address stopped, bool data_likelihood,
            int32_t n_fixed, Address latents, Address first_moment, Address second_moment,
            Address entries, Address log_likelihoods) {
  BankArguments arguments = arguments_of(plan, launch);
  dds::BankUpdateTensors& t = arguments.update;
  t.grad_entries = pointer<const float>(grad_entries);
  t.row_weights = pointer<const float>(row_weights);
  t.grad_log_likelihoods = pointer<const float>(grad_log_likelihoods);
  t.scalars = pointer<const float>(scalars);
  t.stopped = pointer<const int32_t>(stopped);
  t.data_likelihood = data_likelihood;
  t.n_fixed = n_fixed;
  t.latents = pointer<float>(latents);
  t.first_moment = pointer<float>(first_moment);
  t.second_moment = pointer<float>(second_moment);
  t.entries = pointer<float>(entries);
  t.log_likelihoods = pointer<float>(log_likelihoods);
  run(Pass::update, arguments, launch);
}

// Row i of x holds the arguments (a direction: 0 or 1, then numbers), row i of y takes the results.
void affine(Address x, Address y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float* a = pointer<const float>(x) + 6 * i;
    const dds::scalar::Affine result = dds::scalar::affine(a[0] != 0, a[1], a[2], a[3], a[4], a[5]);
    std::memcpy(pointer<float>(y) + 3 * i, &result, sizeof result);
  }
}

void affine_backward(Address x, Address y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float* a = pointer<const float>(x) + 7 * i;
    const dds::scalar::AffineGradient result =
        dds::scalar::affine_backward(a[0] != 0, a[1], a[2], a[3], a[4], a[5], a[6]);
    std::memcpy(pointer<float>(y) + 3 * i, &result, sizeof result);
  }
}

void elementwise(const std::string& name, Address x, Address y, int64_t n) {
  namespace maths = dds::scalar;
  const auto function = parse<float (*)(float)>(
      "function", name,
      {{"exp", [](float v) { return maths::exp(v); }},
       {"expm1_negative", [](float v) { return maths::expm1_negative(v); }},
       {"tanh", [](float v) { return maths::tanh(v); }},
       {"clipped", [](float v) { return maths::clipped(v); }},
       {"selu", [](float v) { return maths::selu(v); }},
       {"selu_slope", [](float v) { return maths::selu_slope(v); }},
       {"leaky_relu", [](float v) { return maths::leaky_relu(v); }},
       {"leaky_relu_slope", [](float v) { return maths::leaky_relu_slope(v); }},
       {"round_to_tf32", [](float v) { return maths::round_to_tf32(v); }},
       {"round_to_bfloat16",
        [](float v) { return maths::from_bfloat16(maths::round_to_bfloat16(v)); }}});
  for (int64_t i = 0; i < n; ++i) pointer<float>(y)[i] = function(pointer<const float>(x)[i]);
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

  py::class_<Launch>(module, "Launch")
      .def(py::init([](const std::string& direction, const std::string& activation,
                       int64_t n_blocks, Address groups, Address weights, Address transposed,
                       Address records, Address constants, Address stash, Address stream,
                       std::optional<uint64_t> order) {
             return Launch{direction, activation, n_blocks, groups, weights, transposed,
                           records,   constants,  stash,    stream, order};
           }),
           py::arg("direction"), py::arg("activation"), py::arg("n_blocks"), py::arg("groups"),
           py::arg("weights"), py::arg("transposed"), py::arg("records"), py::arg("constants"),
           py::arg("stash"), py::arg("stream"), py::arg("order"));
  module.def("bank_forward", &forward, py::arg("plan"), py::arg("launch"), py::arg("in"),
             py::arg("out"), py::arg("log_det"));
  module.def("bank_backward", &backward, py::arg("plan"), py::arg("launch"), py::arg("grad_out"),
             py::arg("grad_log_det"), py::arg("grad_in"));
  module.def("bank_update", &update, py::arg("plan"), py::arg("launch"), py::arg("grad_entries"),
             py::arg("row_weights"), py::arg("grad_log_likelihoods"), py::arg("scalars"),
             py::arg("stopped"), py::arg("data_likelihood"), py::arg("n_fixed"), py::arg("latents"),
             py::arg("first_moment"), py::arg("second_moment"), py::arg("entries"),
             py::arg("log_likelihoods"));

  module.def("elementwise", &elementwise, py::arg("function"), py::arg("x"), py::arg("y"),
             py::arg("n"), "One of the kernels' own functions on the host, for tests.");
  module.def("affine", &affine, py::arg("x"), py::arg("y"), py::arg("n"),
             "The kernels' affine map on the host, for tests.");
  module.def("affine_backward", &affine_backward, py::arg("x"), py::arg("y"), py::arg("n"));
}
