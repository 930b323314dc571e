// The factorisation kernels of dds_fast._cpu, on addresses and sizes.
#include "bindings_nmf.h"

#include "bindings.h"
#include "nmf.h"

namespace py = pybind11;

namespace {

using dds::Address;
using dds::pointer;

dds::AdamTensors adam_tensors(float step_size, float rms_correction, Address first_moment,
                              Address second_moment, Address values, int64_t n) {
  return {step_size,
          rms_correction,
          pointer<float>(first_moment),
          pointer<float>(second_moment),
          pointer<float>(values),
          n};
}

}  // namespace

void bind_nmf(py::module_& module) {
  const auto release = py::call_guard<py::gil_scoped_release>();

  module.def("residual_sums", &dds::residual_sums, py::arg("n"),
             "Doubles of scratch that a sum over n elements takes.");
  module.def(
      "nmf_residual",
      [](Address target, Address approximation, int64_t n, Address sums, int n_threads) {
        return dds::nmf_residual(pointer<const float>(target), pointer<float>(approximation), n,
                                 pointer<double>(sums), n_threads);
      },
      release, py::arg("target"), py::arg("approximation"), py::arg("n"), py::arg("sums"),
      py::arg("n_threads"));
  module.def(
      "nmf_ratio",
      [](Address numerator, Address denominator, float epsilon, Address values, int64_t n,
         int n_threads) {
        dds::nmf_ratio(pointer<const float>(numerator), pointer<const float>(denominator), epsilon,
                       pointer<float>(values), n, n_threads);
      },
      release, py::arg("numerator"), py::arg("denominator"), py::arg("epsilon"), py::arg("values"),
      py::arg("n"), py::arg("n_threads"));
  module.def(
      "nmf_quotient",
      [](Address target, float epsilon, Address approximation, int64_t n, int n_threads) {
        dds::nmf_quotient(pointer<const float>(target), epsilon, pointer<float>(approximation), n,
                          n_threads);
      },
      release, py::arg("target"), py::arg("epsilon"), py::arg("approximation"), py::arg("n"),
      py::arg("n_threads"));
  module.def(
      "nmf_adam",
      [](Address gradient, float scale, float step_size, float rms_correction, Address first_moment,
         Address second_moment, Address values, int64_t n, int n_threads) {
        dds::nmf_adam(
            pointer<const float>(gradient), scale,
            adam_tensors(step_size, rms_correction, first_moment, second_moment, values, n),
            n_threads);
      },
      release, py::arg("gradient"), py::arg("scale"), py::arg("step_size"),
      py::arg("rms_correction"), py::arg("first_moment"), py::arg("second_moment"),
      py::arg("values"), py::arg("n"), py::arg("n_threads"));
  module.def(
      "nmf_adam_gram",
      [](Address product, Address target, double scale, Address wide, float step_size,
         float rms_correction, Address first_moment, Address second_moment, Address values,
         int64_t n, int n_threads) {
        dds::nmf_adam_gram(
            pointer<const double>(product), pointer<const double>(target), scale,
            pointer<double>(wide),
            adam_tensors(step_size, rms_correction, first_moment, second_moment, values, n),
            n_threads);
      },
      release, py::arg("product"), py::arg("target"), py::arg("scale"), py::arg("wide"),
      py::arg("step_size"), py::arg("rms_correction"), py::arg("first_moment"),
      py::arg("second_moment"), py::arg("values"), py::arg("n"), py::arg("n_threads"));
  module.def(
      "nmf_gram_cost",
      [](Address values, Address product, Address target, int64_t n, Address sums, int n_threads) {
        return dds::nmf_gram_cost(pointer<const double>(values), pointer<const double>(product),
                                  pointer<const double>(target), n, pointer<double>(sums),
                                  n_threads);
      },
      release, py::arg("values"), py::arg("product"), py::arg("target"), py::arg("n"),
      py::arg("sums"), py::arg("n_threads"));
  module.def("padded_candidates", &dds::padded_candidates, py::arg("n"),
             "Floats that a row of a Gram matrix of n candidates takes.");
  module.def("candidates_scratch", &dds::candidates_scratch, py::arg("capacity"),
             "Floats of scratch per thread that refine_candidates takes.");
  module.def(
      "refine_candidates",
      [](Address dictionary, Address gram, Address spectra, Address correlations, Address residuals,
         Address squares, Address entries, Address activations, Address counts, int64_t n_entries,
         int64_t n_features, int64_t n_frames, int64_t capacity, int64_t n_new, Address scratch,
         int n_threads) {
        dds::refine_candidates(
            {pointer<const float>(dictionary), pointer<const float>(gram),
             pointer<const float>(spectra), pointer<float>(correlations), pointer<float>(residuals),
             pointer<double>(squares), pointer<int32_t>(entries), pointer<float>(activations),
             pointer<int32_t>(counts), n_entries, n_features, n_frames, capacity, n_new},
            pointer<float>(scratch), n_threads);
      },
      release, py::arg("dictionary"), py::arg("gram"), py::arg("spectra"), py::arg("correlations"),
      py::arg("residuals"), py::arg("squares"), py::arg("entries"), py::arg("activations"),
      py::arg("counts"), py::arg("n_entries"), py::arg("n_features"), py::arg("n_frames"),
      py::arg("capacity"), py::arg("n_new"), py::arg("scratch"), py::arg("n_threads"));
}
