// Packed flows as Python holds them.
#pragma once

#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings.h"
#include "flow.h"
#include "packed_weights.h"

namespace dds {

inline Format parse_format(const std::string& name) {
  return parse<Format>(
      "format", name,
      {{"float32", Format::float32}, {"bfloat16", Format::bfloat16}, {"split", Format::split}});
}

// A layout with the layers that it points to.
struct Layout {
  Layout(const std::string& format, const std::string& mixing_format, int64_t n_passing,
         int64_t n_moving, const std::vector<int64_t>& hidden_widths)
      : layout(make_layout(parse_format(format), parse_format(mixing_format), n_passing, n_moving,
                           hidden_widths, layers)) {}

  Layout(const Layout&) = delete;

  std::vector<PackedLayer> layers;
  FlowLayout layout;
};

// coupling, alpha, beta, permutation, adjoint, mixing
using Step = std::tuple<Address, Address, Address, Address, Address, Address>;

// A flow in one direction, with the steps that it points to.
struct PackedFlow {
  PackedFlow(std::shared_ptr<Layout> owner, const std::string& direction,
             const std::string& activation, const std::vector<Step>& addresses)
      : owner(std::move(owner)) {
    for (const auto& [coupling, alpha, beta, permutation, adjoint, mixing] : addresses) {
      steps.push_back({.coupling = pointer<const char>(coupling),
                       .alpha = pointer<const float>(alpha),
                       .beta = pointer<const float>(beta),
                       .permutation = pointer<const int32_t>(permutation),
                       .adjoint = pointer<const int32_t>(adjoint),
                       .mixing = pointer<const char>(mixing)});
    }
    flow = {.layout = this->owner->layout,
            .direction = parse_direction(direction),
            .activation = parse_activation(activation),
            .steps = steps.data(),
            .n_steps = static_cast<int64_t>(steps.size())};
  }

  PackedFlow(const PackedFlow&) = delete;

  std::shared_ptr<Layout> owner;
  std::vector<FlowStep> steps;
  Flow flow;
};

}  // namespace dds
