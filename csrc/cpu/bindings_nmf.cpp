// The factorisation kernels of dds_fast._cpu; their arguments are those of nmf.h.
#include <pybind11/pybind11.h>

#include "bindings.h"
#include "nmf.h"

namespace py = pybind11;
using dds::by_address;

namespace {

void adam(const float* gradient, float scale, float step_size, float rms_correction,
          float* first_moment, float* second_moment, float* values, int64_t n, int n_threads) {
  dds::nmf_adam(gradient, scale,
                {step_size, rms_correction, first_moment, second_moment, values, n}, n_threads);
}

void adam_gram(const double* product, const double* target, double scale, double* wide,
               float step_size, float rms_correction, float* first_moment, float* second_moment,
               float* values, int64_t n, int n_threads) {
  dds::nmf_adam_gram(product, target, scale, wide,
                     {step_size, rms_correction, first_moment, second_moment, values, n},
                     n_threads);
}

void refine_candidates(const float* dictionary, const float* gram, const float* spectra,
                       float* correlations, float* residuals, double* squares, int32_t* entries,
                       float* activations, int32_t* counts, int64_t n_entries, int64_t n_features,
                       int64_t n_frames, int64_t capacity, int64_t n_new, float* scratch,
                       int n_threads) {
  dds::refine_candidates({.dictionary = dictionary,
                          .gram = gram,
                          .spectra = spectra,
                          .correlations = correlations,
                          .residuals = residuals,
                          .squares = squares,
                          .entries = entries,
                          .activations = activations,
                          .counts = counts,
                          .n_entries = n_entries,
                          .n_features = n_features,
                          .n_frames = n_frames,
                          .capacity = capacity,
                          .n_new = n_new},
                         scratch, n_threads);
}

}  // namespace

void bind_nmf(py::module_& module) {
  const auto release = py::call_guard<py::gil_scoped_release>();
  module.def("residual_sums", &dds::residual_sums,
             "Doubles of scratch that a sum over n elements takes.");
  module.def("nmf_residual", by_address(&dds::nmf_residual), release);
  module.def("nmf_ratio", by_address(&dds::nmf_ratio), release);
  module.def("nmf_quotient", by_address(&dds::nmf_quotient), release);
  module.def("nmf_adam", by_address(&adam), release);
  module.def("nmf_adam_gram", by_address(&adam_gram), release);
  module.def("nmf_gram_cost", by_address(&dds::nmf_gram_cost), release);
  module.def("padded_candidates", &dds::padded_candidates,
             "Floats that a row of a Gram matrix of n candidates takes.");
  module.def("candidates_scratch", &dds::candidates_scratch,
             "Floats of scratch per thread that refine_candidates takes.");
  module.def("refine_candidates", by_address(&refine_candidates), release);
}
