// The records of a pass's steps: where each feature stands, alpha and beta. Permutations move
// nothing.
#pragma once

#include "bank_block.h"

namespace dds {

// Two at a time: that of the step, and of the next one.
template <class Block>
class BankRecords {
 public:
  DDS_DEVICE explicit BankRecords(const Block& block) : b_(block) {}

  DDS_DEVICE const uint16_t* places() const {
    return reinterpret_cast<const uint16_t*>(shared(current_));
  }
  DDS_DEVICE const StepScales& scales() const {
    return *reinterpret_cast<const StepScales*>(shared(current_) + n_bytes() - sizeof(StepScales));
  }

  // That of step i, at once.
  DDS_DEVICE void load(int i) const {
    for (int word = b_.thread; word < n_bytes() / 16; word += kBankThreads) {
      reinterpret_cast<Word4*>(shared(current_))[word] = in_memory(i)[word];
    }
  }

  // The next one, in two parts: the memory answers while a step is computed.
  DDS_DEVICE void ask(int i) {
    for_own_words([&](int k, int word) { asked_[k] = in_memory(i)[word]; });
  }

  DDS_DEVICE void store_asked() {
    for_own_words(
        [&](int k, int word) { reinterpret_cast<Word4*>(shared(current_ ^ 1))[word] = asked_[k]; });
  }

  // To the next one; all threads have met.
  DDS_DEVICE void advance() { current_ ^= 1; }

 private:
  static constexpr int kWords = 2;  // of 16 bytes, per thread
  static_assert(record_bytes(kMaxFeatures) <= kWords * kBankThreads * 16, "room for a record");

  template <class Function>
  DDS_DEVICE void for_own_words(const Function& function) const {
    DDS_UNROLL
    for (int k = 0; k < kWords; ++k) {
      const int word = b_.thread + k * kBankThreads;
      if (word < n_bytes() / 16) function(k, word);
    }
  }

  DDS_DEVICE int n_bytes() const { return static_cast<int>(record_bytes(b_.shape.n_features())); }

  DDS_DEVICE char* shared(int which) const {
    return b_.machine.shared() + (which ? b_.plan.records[1] : b_.plan.records[0]);
  }

  DDS_DEVICE const Word4* in_memory(int i) const {
    const int64_t index = b_.group * (b_.shape.n_steps + 1) + i;
    return reinterpret_cast<const Word4*>(b_.arguments.records + index * n_bytes());
  }

  const Block& b_;
  int current_ = 0;  // which of the two is that of the step
  Word4 asked_[kWords];
};

}  // namespace dds
