// Instruction-set levels of the CPU kernels and the choice among them.
#pragma once

#include <string>
#include <vector>

namespace dds {

enum class Level { portable, avx2, avx512, avx512_bf16, amx };

const char* level_name(Level level);

// The levels that were built and that this CPU and its operating system can run, lowest first.
std::vector<Level> supported_levels();

// The level in use: the highest supported one, or that of the environment variable
// DDS_FAST_CPU_ISA, or that last set. Throws std::invalid_argument if the variable's value is
// unknown or cannot run here.
Level active_level();

// Throws std::invalid_argument if there is no such level or it cannot run here.
void set_level(const std::string& name);

}  // namespace dds
