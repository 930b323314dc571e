#include "levels.h"

#include <atomic>
#include <cstdlib>
#include <iterator>
#include <stdexcept>

#include "each_level.h"

#if defined(DDS_X86_KERNELS) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace dds {

// From level/kernels.cpp.
#define DDS_DECLARE(level)        \
  namespace level_##level {       \
    extern const Kernels kernels; \
  }
DDS_EACH_LEVEL(DDS_DECLARE)

namespace {

constexpr const char* kVariable = "DDS_FAST_CPU_ISA";

struct Level {
  const char* name;
  const Kernels& kernels;
  bool (*can_run)();  // where the level before it can
};

bool has_portable() { return true; }

#ifdef DDS_X86_KERNELS
// The builtin also asks the operating system whether it saves the wide registers.
bool has_avx2() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

bool has_avx512_bf16() { return __builtin_cpu_supports("avx512bf16"); }

// Whether the CPU has bfloat16 tiles and the operating system lets this process use them.
bool has_amx() {
#ifdef DDS_EMULATE_AMX
  return true;
#elif defined(__linux__)
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
#endif

#define DDS_LIST(level) {#level, level_##level::kernels, has_##level},
constexpr Level kLevels[] = {DDS_EACH_LEVEL(DDS_LIST)};

std::atomic<const Level*> chosen{nullptr};

const Level* end_of_supported() {
  const Level* level = std::begin(kLevels);
  while (level != std::end(kLevels) && level->can_run()) ++level;
  return level;
}

const Level* find(const std::string& name, const std::string& origin) {
  std::string names;
  bool known = false;
  const Level* end = end_of_supported();
  for (const Level& level : kLevels) {
    const bool supported = &level < end, same = name == level.name;
    if (supported && same) return &level;
    known = known || same;
    if (supported) names += std::string(names.empty() ? "" : ", ") + level.name;
  }
  throw std::invalid_argument(origin + " '" + name + "' is " +
                              (known ? "not supported on this machine" : "unknown") +
                              "; it can be " + names);
}

const Level* fastest() {
  const Level* level = end_of_supported() - 1;
#ifdef DDS_EMULATE_AMX
  // Tiles in software are for tests, which name them.
  if (level->name == std::string("amx")) --level;
#endif
  return level;
}

const Level& active() {
  if (!chosen) {
    const char* forced = std::getenv(kVariable);
    chosen = forced && *forced ? find(forced, kVariable) : fastest();
  }
  return *chosen;
}

}  // namespace

std::vector<std::string> supported_levels() {
  std::vector<std::string> names;
  for (const Level* level = kLevels; level != end_of_supported(); ++level) {
    names.push_back(level->name);
  }
  return names;
}

std::string active_level() { return active().name; }

const Kernels& active_kernels() { return active().kernels; }

void set_level(const std::string& name) { chosen = find(name, "instruction-set level"); }

}  // namespace dds
