// Adam's bias corrections (Kingma and Ba, 2015), for the kernels that hold its moments.
#pragma once

#include <cmath>
#include <cstdint>

namespace dds {

// At the t-th step.
template <class Tensors>
void set_adam_corrections(double step_size, int64_t t, Tensors& tensors) {
  tensors.step_size = static_cast<float>(step_size / (1 - std::pow(0.9, t)));
  tensors.rms_correction = static_cast<float>(1 / std::sqrt(1 - std::pow(0.999, t)));
}

}  // namespace dds
