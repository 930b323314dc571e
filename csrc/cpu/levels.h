// Instruction-set levels of the CPU kernels and the choice among them.
#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace dds {

// Names of the levels that were built and that this CPU and its operating system can run, lowest
// first.
std::vector<std::string> supported_levels();

// The level in use: the highest supported one, or that of the environment variable
// DDS_FAST_CPU_ISA, or that last set. Throws std::invalid_argument if the variable's value is
// unknown or cannot run here.
std::string active_level();
const Kernels& active_kernels();

// Throws std::invalid_argument if there is no such level or it cannot run here.
void set_level(const std::string& name);

}  // namespace dds
