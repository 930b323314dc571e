// The machine that the code of a block runs on: the host, with a cluster's threads as fibers.
//
// It is stricter than a device. Shared memory begins as NaN. A chunk on its way is NaN until a
// thread waits for it; a stage may be filled again only after all threads have waited for what it
// held. Threads run one at a time, in any order asked for: code without a race gives the same bits
// in all.
#pragma once

#include <map>
#include <stdexcept>
#include <vector>

#include "cuda/bank_layout.h"
#include "cuda/machine.h"
#include "fibers.h"

namespace dds {

struct Meeting {
  int n_arrived = 0;
  uint64_t generation = 0;

  void arrive(int n_threads) {
    const uint64_t now = generation;
    if (++n_arrived == n_threads) {
      n_arrived = 0;
      ++generation;
      return;
    }
    Fibers::wait_while(&generation, now);
  }
};

struct WarpState {
  Meeting meeting;
  float values[2][32];  // of this meeting and the one before
  struct {
    float* sums;
    const Word4* weights;
    uint32_t low, high;
  } operands[32];
};

struct PendingCopy {
  char* to;
  const char* from;
};

struct CtaState {
  explicit CtaState(int64_t shared_bytes) : shared(shared_bytes / 4 + 64, 0xffffffffu) {}

  std::vector<uint32_t> shared;
  Meeting meeting;
  WarpState warps[kBankWarps];
  std::map<uint64_t*, PendingCopy> pending;
  std::map<uint64_t*, int> n_waited;  // threads that have seen a barrier's last phase
  int64_t n_fetched = 0;
};

struct ClusterState {
  std::vector<CtaState> ctas;
  Meeting meeting;
  int block;
  int row_block;
};

class HostMachine {
 public:
  HostMachine(ClusterState& cluster, int thread)
      : cluster_(cluster),
        rank_(thread / kBankThreads),
        thread_(thread % kBankThreads),
        cta_(cluster.ctas[rank_]) {}

  int thread() const { return thread_; }
  int rank() const { return rank_; }
  int block() const { return cluster_.block; }
  int row_block() const { return cluster_.row_block; }
  char* shared() const { return peer(rank_); }
  char* peer(int rank) const;
  void sync() const { cta_.meeting.arrive(kBankThreads); }
  void meet() const {
    cluster_.meeting.arrive(kBankThreads * static_cast<int>(cluster_.ctas.size()));
  }
  void make_barriers(uint64_t* barriers, int n) const;
  void fetch(char* to, const char* from, uint64_t* barrier) const;
  void wait(uint64_t* barrier, unsigned parity) const;
  float shuffle_xor(float value, int mask) const;
  void prefetch(const char*, uint32_t) const {}

  template <Precision kPrecision>
  void multiply(float (&sums)[4], const Word4& weights, uint32_t low, uint32_t high) const {
    multiply(kPrecision, sums, weights, low, high);
  }

 private:
  void multiply(Precision precision, float* sums, const Word4& weights, uint32_t low,
                uint32_t high) const;

  ClusterState& cluster_;
  const int rank_, thread_;
  CtaState& cta_;
};

}  // namespace dds
