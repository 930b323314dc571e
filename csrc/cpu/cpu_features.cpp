#include "dds/cpu_features.h"

#include <cstdlib>
#include <mutex>
#include <optional>
#include <stdexcept>

namespace dds {
namespace {

constexpr const char* kVariable = "DDS_FAST_CPU_ISA";

std::mutex mutex;
std::optional<Level> chosen;

Level parse(const std::string& name, const std::string& origin) {
  std::string names;
  for (Level level : supported_levels()) {
    if (name == level_name(level)) return level;
    names += std::string(names.empty() ? "" : ", ") + level_name(level);
  }
  const bool known = name == level_name(Level::avx2) || name == level_name(Level::avx512);
  throw std::invalid_argument(origin + " '" + name + "' is " +
                              (known ? "not supported on this machine" : "unknown") +
                              "; it can be " + names);
}

}  // namespace

const char* level_name(Level level) {
  switch (level) {
    case Level::avx2:
      return "avx2";
    case Level::avx512:
      return "avx512";
    default:
      return "portable";
  }
}

std::vector<Level> supported_levels() {
  std::vector<Level> levels = {Level::portable};
#ifdef DDS_X86_KERNELS
  // The builtin also asks the operating system whether it saves the wide registers.
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return levels;
  levels.push_back(Level::avx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    levels.push_back(Level::avx512);
  }
#endif
  return levels;
}

Level active_level() {
  std::lock_guard<std::mutex> lock(mutex);
  if (!chosen) {
    const char* forced = std::getenv(kVariable);
    chosen = forced && *forced ? parse(forced, kVariable) : supported_levels().back();
  }
  return *chosen;
}

void set_level(const std::string& name) {
  const Level level = parse(name, "instruction-set level");
  std::lock_guard<std::mutex> lock(mutex);
  chosen = level;
}

}  // namespace dds
