// What stands around the large products of a non-negative factorisation X = W H with a fixed or a
// moving dictionary. The products themselves are left to a BLAS.
#pragma once

#include <cstdint>

namespace dds {

// approximation <- approximation - target. Returns the sum of the squares of the result, in double.
// `sums` holds residual_sums(n) doubles of scratch.
int64_t residual_sums(int64_t n);
double nmf_residual(const float* target, float* approximation, int64_t n, double* sums,
                    int n_threads);

// values <- values * numerator / (denominator + epsilon), all of n elements.
void nmf_ratio(const float* numerator, const float* denominator, float epsilon, float* values,
               int64_t n, int n_threads);

// approximation <- target / (approximation + epsilon).
void nmf_quotient(const float* target, float epsilon, float* approximation, int64_t n,
                  int n_threads);

struct AdamTensors {
  float step_size;       // with Adam's bias correction: step_size / (1 - beta1^t)
  float rms_correction;  // 1 / sqrt(1 - beta2^t)
  float* first_moment;
  float* second_moment;
  float* values;
  int64_t n;
};

// One step of Adam from gradient * scale, then max(values, 0).
void nmf_adam(const float* gradient, float scale, const AdamTensors& tensors, int n_threads);

// The same from (product - target) * scale in double; `wide` takes the new values in double.
void nmf_adam_gram(const double* product, const double* target, double scale, double* wide,
                   const AdamTensors& tensors, int n_threads);

// Sum of values * (product - 2 target): with product = G H and target = W^T X it is
// ||X - W H||^2 - ||X||^2. `sums` as above.
double nmf_gram_cost(const double* values, const double* product, const double* target, int64_t n,
                     double* sums, int n_threads);

// Non-negative least squares for frames (rows of `spectra`) over few candidates each. Frames do not
// depend on one another.
struct Candidates {
  const float* dictionary;  // (entries, features), rows of norm 1 or 0
  const float* gram;        // (entries, padded_candidates(entries)) of its inner products, zeros
                            // in the padding: then all entries are candidates; or null
  const float* spectra;     // (frames, features)
  float* correlations;      // (frames, entries), dictionary times residual; used up
  float* residuals;         // (frames, features), spectra minus approximation
  double* squares;          // (frames), of the residuals
  int32_t* entries;         // (frames, capacity), the candidates
  float* activations;       // (frames, capacity), zero behind the last candidate
  int32_t* counts;          // (frames), of the candidates
  int64_t n_entries;
  int64_t n_features;
  int64_t n_frames;
  int64_t capacity;
  int64_t n_new;  // candidates that a frame may gain
};

// One pass: candidates whose activation is zero leave, the entries most correlated with the
// residual join, and all activations of the frame move by coordinate descent on the Gram matrix.
// `scratch` holds candidates_scratch(capacity) floats for each thread.
int64_t padded_candidates(int64_t n);
int64_t candidates_scratch(int64_t capacity);
void refine_candidates(const Candidates& candidates, float* scratch, int n_threads);

}  // namespace dds
