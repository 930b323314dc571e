#include "cpu_features.h"

#include <cstdlib>
#include <mutex>
#include <optional>
#include <stdexcept>

#if defined(DDS_X86_KERNELS) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace dds {
namespace {

constexpr const char* kVariable = "DDS_FAST_CPU_ISA";

constexpr Level kLevels[] = {Level::portable, Level::avx2, Level::avx512, Level::avx512_bf16,
                             Level::amx};

std::mutex mutex;
std::optional<Level> chosen;

// Whether the CPU has bfloat16 tiles and the operating system lets this process use them.
bool has_amx() {
#ifdef DDS_EMULATE_AMX
  return true;
#elif defined(DDS_X86_KERNELS) && defined(__linux__)
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return false;
  if ((edx & kBf16) == 0 || (edx & kTile) == 0) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  static const bool allowed = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return allowed;
#else
  return false;
#endif
}

Level parse(const std::string& name, const std::string& origin) {
  std::string names;
  for (Level level : supported_levels()) {
    if (name == level_name(level)) return level;
    names += std::string(names.empty() ? "" : ", ") + level_name(level);
  }
  bool known = false;
  for (Level level : kLevels) known = known || name == level_name(level);
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
    case Level::avx512_bf16:
      return "avx512_bf16";
    case Level::amx:
      return "amx";
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
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl")) {
    return levels;
  }
  levels.push_back(Level::avx512);
  if (!__builtin_cpu_supports("avx512bf16")) return levels;
  levels.push_back(Level::avx512_bf16);
  if (has_amx()) levels.push_back(Level::amx);
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
