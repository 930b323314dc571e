// What a pass of a flow is, on the CPU and on the GPU.
#pragma once

namespace dds {

enum class Activation { selu, leaky_relu };
enum class Direction { encode, decode };

struct ForwardTensors {
  const float* in;  // (groups, rows, F)
  float* out;       // likewise
  float* log_det;   // (groups, rows); on the CPU without the mixings' constants
  char* stash;      // what the gradient needs; or null
};

struct BackwardTensors {
  const char* stash;
  const float* grad_out;      // (groups, rows, F)
  const float* grad_log_det;  // (groups, rows); or null
  float* grad_in;             // (groups, rows, F)
};

}  // namespace dds
