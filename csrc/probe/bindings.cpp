// dds_fast._probe: parts of the kernels by themselves, for tests and benchmarks.
#include "bindings.h"

#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <string>

#include "cpu/each_level.h"
#include "cuda/scalar_maths.h"
#include "probes.h"

namespace dds {

// From level.cpp.
#define DDS_DECLARE(level)      \
  namespace level_##level {     \
    extern const Probes probes; \
  }
DDS_EACH_LEVEL(DDS_DECLARE)

}  // namespace dds

namespace py = pybind11;

namespace {

using dds::Address;
using dds::parse;
using dds::pointer;

const dds::Probes& probes_of(const std::string& level) {
#define DDS_LIST(name) {#name, &dds::level_##name::probes},
  return *parse<const dds::Probes*>("level", level, {DDS_EACH_LEVEL(DDS_LIST)});
}

int64_t multiply_registers(const std::string& level, const std::string& format, int64_t rounds,
                           int n_threads) {
  const int which = parse<int>("format", format, {{"float32", 0}, {"bfloat16", 1}});
  const auto kernel = probes_of(level).multiply_registers[which];
  int64_t total = 0;
#pragma omp parallel for num_threads(n_threads) reduction(+ : total)
  for (int thread = 0; thread < n_threads; ++thread) {
    volatile float sink;
    float sum;
    total += kernel(rounds, &sum);
    sink = sum;
    static_cast<void>(sink);
  }
  return total;
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

using Function = std::function<void(const float*, float*, int64_t)>;

// One of the CUDA kernels' functions, on the host.
Function scalar_function(const std::string& name) {
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
  return [=](const float* x, float* y, int64_t n) { std::transform(x, x + n, y, function); };
}

Function level_function(const std::string& level, const std::string& name) {
  const dds::Probes& probes = probes_of(level);
  return parse<Function>(
      "function", name,
      {{"exp", probes.exp}, {"expm1_negative", probes.expm1_negative}, {"tanh", probes.tanh}});
}

void elementwise(const std::string& level, const std::string& name, Address x, Address y,
                 int64_t n) {
  const Function function = level == "cuda" ? scalar_function(name) : level_function(level, name);
  function(pointer<const float>(x), pointer<float>(y), n);
}

}  // namespace

PYBIND11_MODULE(_probe, module) {
  const auto release = py::call_guard<py::gil_scoped_release>();
  module.def("elementwise", &elementwise, release, py::arg("level"), py::arg("function"),
             py::arg("x"), py::arg("y"), py::arg("n"),
             "A function of the kernels of a level, or of those of CUDA, over an array.");
  module.def("affine", &affine, py::arg("x"), py::arg("y"), py::arg("n"),
             "The CUDA kernels' affine map on the host.");
  module.def("affine_backward", &affine_backward, py::arg("x"), py::arg("y"), py::arg("n"));
  module.def("multiply_registers", &multiply_registers, release, py::arg("level"),
             py::arg("format"), py::arg("rounds"), py::arg("n_threads"),
             "Multiply-adds whose operands stay in registers: what the processor can do at best. "
             "Some rounds on each thread; returns how many they were.");
}
