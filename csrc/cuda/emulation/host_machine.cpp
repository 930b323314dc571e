#include "host_machine.h"

#include <cstring>

#include "cuda/scalar_maths.h"

namespace dds {
namespace {

void require(bool condition, const char* message) {
  if (!condition) throw std::runtime_error(message);
}

// The fragments of mma.m16n8k16 (bfloat16, two numbers per word) and mma.m16n8k8 (tf32), unpacked
// for all 32 lanes, and their product in double.
void multiply_warp(Precision precision, WarpState& warp) {
  const int per_word = precision == Precision::bfloat16 ? 2 : 1;
  const auto number = [&](uint32_t word, int which) {
    return per_word == 1 ? scalar::from_bits(word & 0xffffe000u)
                         : scalar::from_bfloat16(word >> (16 * which) & 0xffffu);
  };
  float weights[16][16], inputs[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const int group = lane / 4, member = lane % 4;
    uint32_t parts[4];
    std::memcpy(parts, warp.operands[lane].weights, 16);
    for (int which = 0; which < per_word; ++which) {
      for (int part = 0; part < 4; ++part) {
        const int column = group + 8 * (part % 2);
        const int input = per_word * (member + 4 * (part / 2)) + which;
        weights[column][input] = number(parts[part], which);
      }
      inputs[per_word * member + which][group] = number(warp.operands[lane].low, which);
      inputs[per_word * (member + 4) + which][group] = number(warp.operands[lane].high, which);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    for (int part = 0; part < 4; ++part) {
      const int column = lane / 4 + 8 * (part / 2), row = lane % 4 * 2 + part % 2;
      double sum = warp.operands[lane].sums[part];
      for (int i = 0; i < 8 * per_word; ++i) {
        sum += static_cast<double>(weights[column][i]) * inputs[i][row];
      }
      warp.operands[lane].sums[part] = static_cast<float>(sum);
    }
  }
}

}  // namespace

char* HostMachine::peer(int rank) const {
  // Aligned as the kernels ask for.
  const auto address = reinterpret_cast<uintptr_t>(cluster_.ctas[rank].shared.data());
  return reinterpret_cast<char*>((address + 127) / 128 * 128);
}

void HostMachine::make_barriers(uint64_t* barriers, int n) const {
  if (thread_ == 0) std::memset(barriers, 0, n * sizeof(uint64_t));
}

void HostMachine::fetch(char* to, const char* from, uint64_t* barrier) const {
  if (thread_ != 0) return;
  require(cta_.pending.count(barrier) == 0,
          "a stage was filled while a copy into it was under way");
  const auto waited = cta_.n_waited.find(barrier);
  require(waited == cta_.n_waited.end() || waited->second == kBankThreads,
          "a stage was filled again before all threads had waited for its chunk");
  cta_.n_waited[barrier] = 0;
  cta_.pending[barrier] = {to, from};
  ++cta_.n_fetched;
  std::memset(to, 0xff, kChunkBytes);
}

void HostMachine::wait(uint64_t* barrier, unsigned parity) const {
  const auto pending = cta_.pending.find(barrier);
  if (pending != cta_.pending.end()) {
    std::memcpy(pending->second.to, pending->second.from, kChunkBytes);
    cta_.pending.erase(pending);
    ++*barrier;
  }
  // A phase of this parity is complete when the current one has the other.
  if (*barrier % 2 == parity) Fibers::wait_while(barrier, *barrier);
  require(*barrier % 2 != parity, "a thread waited for a phase that was long gone");
  ++cta_.n_waited[barrier];
}

float HostMachine::shuffle_xor(float value, int mask) const {
  WarpState& warp = cta_.warps[thread_ / 32];
  float* values = warp.values[warp.meeting.generation % 2];
  values[thread_ % 32] = value;
  warp.meeting.arrive(32);
  return values[thread_ % 32 ^ mask];
}

void HostMachine::multiply(Precision precision, float* sums, const Word4& weights, uint32_t low,
                           uint32_t high) const {
  WarpState& warp = cta_.warps[thread_ / 32];
  warp.operands[thread_ % 32] = {sums, &weights, low, high};
  // The last to come multiplies for all.
  if (warp.meeting.n_arrived == 31) multiply_warp(precision, warp);
  warp.meeting.arrive(32);
}

}  // namespace dds
