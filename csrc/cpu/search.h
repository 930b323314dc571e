// A search for latent codes and activations, whole update steps at a time:
//
//   gradient to the entries -> codes: backward, Adam, decode -> residual, cost
//   gradient to the activations -> Adam -> residual, cost
//
// Entries are shared by all frames, (rows, F), or there is one per source and frame (DDS-1).
#pragma once

#include <cstdint>
#include <vector>

#include "buffer.h"
#include "codes.h"
#include "matrix.h"
#include "objective.h"

namespace dds {

struct SearchTensors {
  int64_t n_features;
  int64_t n_activations;  // rows of them
  int64_t n_frames;
  bool per_frame;       // an entry for each frame
  double penalty;       // weight of the likelihood penalty
  double sparsity;      // weight of the activations' sum
  float epsilon;        // of the penalty's normaliser
  Format products;      // float32 or split
  const float* target;  // (frames, F)
  float* activations;   // (rows, frames)
  float* active;        // (rows, frames), clipped
};

class Search {
 public:
  // Decodes and evaluates the objective; the flow and the tensors must outlive the search.
  Search(const Flow& flow, const CodeSettings& settings, const CodeTensors& codes,
         const SearchTensors& tensors, int n_threads);
  Search(const Search&) = delete;

  // The n-th update step; returns its cost.
  double step(double step_size, int64_t n, int n_threads);

  // Goes on with the entries that are marked, by 1; the others stay as they are.
  void keep(const char* alive, int n_threads);

  double cost() const { return cost_; }

 private:
  void evaluate(int n_threads);
  void step_codes(double step_size, int64_t n, int n_threads);
  void step_activations(double step_size, int64_t n, int n_threads);
  void multiply(const MatrixProduct& product, int n_threads);
  // Whether so few activations are left that products over them are faster than dense ones.
  bool sparse() const;
  Entries entries() const;
  // Where frames share the entries.
  Matrix dictionary() const { return {entries_, h_.rows, tensors_.n_features}; }
  Matrix active() const { return {h_.active, h_.rows, h_.frames}; }
  Matrix residual() const { return {residual_.data(), h_.frames, tensors_.n_features}; }
  float inverse_norm() const { return norm_ > 0.0 ? static_cast<float>(1 / norm_) : 0.0f; }

  const CodeSettings settings_;
  const SearchTensors tensors_;
  const float* const entries_;
  Codes codes_;
  std::vector<float> residual_;             // (frames, F)
  std::vector<float> gradient_;             // (rows, F) where frames share the entries
  std::vector<float> correlation_;          // (rows, frames)
  std::vector<float> likelihood_gradient_;  // as many as there are log-likelihoods
  std::vector<float> first_moment_;         // (rows, frames)
  std::vector<float> second_moment_;
  std::vector<float> sums_;  // (frames), and the following
  std::vector<float> total_;
  std::vector<float> attributed_;
  Buffer product_scratch_;
  ActivationTensors h_;
  int64_t n_active_;  // activations that are not clipped
  double norm_ = 0.0;
  double cost_ = 0.0;
};

}  // namespace dds
