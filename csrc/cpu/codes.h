// The latent codes of a search: a flow decodes them to dictionary entries, Adam moves them.
#pragma once

#include <cstdint>
#include <vector>

#include "buffer.h"
#include "flow.h"

namespace dds {

struct CodeSettings {
  int64_t n_groups;
  int64_t n_rows;            // of all groups
  int64_t most_stash_bytes;  // to keep for the gradient; more is made anew in each step
};

class Codes {
 public:
  // Of `tensors`, what the codes hold for themselves need not be set: moments, stash, gradient,
  // step size. The flow and the tensors must outlive the codes.
  Codes(const Flow& flow, const CodeSettings& settings, const CodeTensors& tensors);

  // Decodes these rows, ascending, the i-th group's from offsets[i] on; the others stay as they are
  // from now on.
  void list(std::vector<int64_t> offsets, std::vector<int64_t> rows, int n_threads);

  // Rows `kept` of the codes to their beginning; `list` must follow.
  void gather(const std::vector<int64_t>& kept);

  // The n-th step of Adam, and the next decode.
  void step(const CodeGradient& gradient, double step_size, int64_t n, int n_threads);

 private:
  Batch batch() const;
  int64_t n_features() const { return flow_.layout.n_features(); }

  const Flow& flow_;
  const CodeSettings settings_;
  CodeTensors tensors_;
  std::vector<float> first_moment_;
  std::vector<float> second_moment_;
  std::vector<int64_t> offsets_;
  std::vector<int64_t> listed_;
  Buffer stash_;
  Buffer scratch_;
};

}  // namespace dds
