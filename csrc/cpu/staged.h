// The stages of the staged search: activations of entries that stay as they are, and entries whose
// codes move. dds_fast/search/reference/staged.py has the formulas.
//
// Entries that no longer sound leave: the tensors' first `n_entries` rows are those that take part.
#pragma once

#include <cstdint>
#include <vector>

#include "buffer.h"
#include "codes.h"
#include "matrix.h"

namespace dds {

struct StagedSettings {
  double penalty;  // weight of the likelihood penalty
  float epsilon;   // of its normaliser
  double sparsity;
  double fixed_sparsity;
  int64_t smoothing;  // frames
  double floor;
  double dead;        // share of the strongest entry's activity
  double drop_share;  // least share of entries that leave together
};

struct StagedTensors {
  int64_t n_sources;
  int64_t n_entries;
  int64_t n_frames;
  int64_t n_features;
  Format products;         // float32 or split
  const float* target;     // (frames, F)
  float* entries;          // (entries, F)
  float* log_likelihoods;  // (entries)
  float* activations;      // (entries, frames)
  int32_t* labels;         // (entries) source of each, ascending
  int64_t* rows;           // (entries) what each was at first
};

// Multiplicative updates of the activations of entries that stay as they are, over-relaxed.
class FixedStage {
 public:
  FixedStage(const StagedSettings& settings, const StagedTensors& tensors, int n_threads);
  FixedStage(const FixedStage&) = delete;

  // Updates, as many as are listed for each step, with weights made anew at each step or uniform;
  // then dead entries leave. Returns a cost per step.
  std::vector<double> steps(const std::vector<int64_t>& n_updates, bool reweighted, int n_threads);

  int64_t n_entries() const { return tensors_.n_entries; }
  double cost() const { return cost_; }

 protected:
  // Evaluates nothing yet.
  FixedStage(const StagedSettings& settings, const StagedTensors& tensors);

  // What updates need of the entries: norms, numerator, Gram matrix.
  void prepare(int n_threads);
  void update(int64_t n_updates, bool over_relaxed, int n_threads);
  void reweight();
  void evaluate(int n_threads);
  void multiply(const MatrixProduct& product, int n_threads);
  void find_norms(int n_threads);
  // Indices of the entries that still sound; none where too few are dead to leave.
  std::vector<int64_t> find_alive(int n_threads) const;
  void keep(const std::vector<int64_t>& alive);

  Matrix entries() const { return {tensors_.entries, tensors_.n_entries, tensors_.n_features}; }
  Matrix activations() const {
    return {tensors_.activations, tensors_.n_entries, tensors_.n_frames};
  }
  Matrix residual() const { return {residual_.data(), tensors_.n_frames, tensors_.n_features}; }

  const StagedSettings settings_;
  StagedTensors tensors_;
  std::vector<float> norms_;     // (entries)
  std::vector<float> residual_;  // (frames, F)
  std::vector<float> sums_;      // (frames), and the following
  std::vector<float> total_;
  std::vector<float> attributed_;
  double norm_ = 0.0;
  double cost_ = 0.0;

 private:
  bool by_gram() const { return tensors_.n_entries < 2 * tensors_.n_features; }
  void find_gram(int n_threads);
  void drop_dead(int n_threads);

  std::vector<float> numerator_;  // (entries, frames)
  std::vector<float> gram_;  // (n, n) for n = min(entries, 2 F): more make direct products cheaper
  std::vector<float> weights_;  // (sources, frames) of the l1 norm
  Buffer product_scratch_;
};

// Steps of Adam on the codes, each followed by updates of the activations.
class AdaptedStage : private FixedStage {
 public:
  // Decodes. Codes stand in the order of the entries; the flow and the tensors must outlive the
  // stage.
  AdaptedStage(const Flow& flow, const StagedSettings& settings, const StagedTensors& tensors,
               const CodeSettings& code_settings, const CodeTensors& codes, int n_threads);

  // From the `first`-th step on, with the step sizes given; weights are made anew and dead entries
  // left out every `look_every` steps. Returns a cost per step.
  std::vector<double> steps(int64_t first, const std::vector<double>& step_sizes, int64_t n_updates,
                            int64_t look_every, int n_threads);

  using FixedStage::cost;
  using FixedStage::n_entries;

 private:
  void step_codes(int64_t step, double step_size, int n_threads);
  void drop_dead(int n_threads);
  // The entries as they fall to the flows of a bank.
  void decode(int n_threads);

  const int64_t n_groups_;
  Codes codes_;
  std::vector<float> gradient_;             // (entries, F)
  std::vector<float> likelihood_gradient_;  // (entries)
};

}  // namespace dds
