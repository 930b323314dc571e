// A search for latent codes and activations, whole update steps at a time:
//
//   gradient to the entries -> latents: backward, Adam, decode -> residual, cost
//   gradient to the activations -> Adam -> residual, cost -> schedule
//
// Entries are shared by all frames, (rows, F), or there is one per source and frame (DDS-1).
#pragma once

#include <cstdint>

#include "flow.h"
#include "matrix_product.h"
#include "objective.h"
#include "schedule.h"

namespace dds {

// Of the latents and the activations, what a step computes for itself need not be set: gradients,
// step sizes, scales.
struct SearchTensors {
  int64_t n_features;
  const float* target;  // (frames, F)
  double penalty;       // weight of the likelihood penalty
  double sparsity;      // weight of the activations' sum
  float epsilon;        // of the penalty's normaliser
  Format products;      // float32 or split
  Batch batch;
  LatentTensors latents;
  ActivationTensors activations;
  // Workspace.
  float* residual;             // (frames, F)
  float* gradient;             // (rows, F) where frames share the entries
  float* correlation;          // (rows, frames)
  float* likelihood_gradient;  // as many as there are log-likelihoods
  char* flow_scratch;
  char* product_scratch;
};

// Bytes of `product_scratch`.
int64_t search_product_bytes(Format format, int64_t n_entries, int64_t n_frames, int64_t n_features,
                             int n_threads);

class Search {
 public:
  // Evaluates the objective; the tensors and the schedule must outlive the search.
  Search(const Flow& flow, const SearchTensors& tensors, Schedule& schedule, int n_threads);

  // One update step; the schedule observes its cost.
  void step(int n_threads);

  double cost() const { return cost_; }

 private:
  void evaluate(int n_threads);
  void step_latents(int n_threads);
  void step_activations(int n_threads);
  void multiply(const MatrixProduct& product, int n_threads) const;
  // Whether so few activations are left that products over them are faster than dense ones.
  bool sparse() const;
  Entries entries() const;
  bool per_frame() const { return tensors_.activations.per_frame; }
  float inverse_norm() const;

  const Flow& flow_;
  SearchTensors tensors_;
  Schedule& schedule_;
  int64_t n_active_;  // activations that are not clipped
  double norm_ = 0.0;
  double cost_ = 0.0;
};

}  // namespace dds
