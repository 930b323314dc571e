// The machine that the code of a block runs on: a device.
//
// sm_90: chunks come by bulk copies that one thread issues, CTAs of a cluster write to each other's
// shared memory. sm_80: chunks come by asynchronous copies that all threads issue, and a CTA is
// alone. Both announce a chunk through an mbarrier.
#pragma once

#include <cuda_runtime.h>

#include "bank_layout.h"
#include "machine.h"

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
#define DDS_CLUSTERS 1
#endif

namespace dds {

class DeviceMachine {
 public:
  DDS_DEVICE DeviceMachine(char* shared, int n_ctas)
      : shared_(shared),
        n_ctas_(n_ctas),
        rank_(static_cast<int>(blockIdx.x) % n_ctas),
        block_(static_cast<int>(blockIdx.x) / n_ctas) {}

  DDS_DEVICE int thread() const { return static_cast<int>(threadIdx.x); }
  DDS_DEVICE int rank() const { return rank_; }
  DDS_DEVICE int block() const { return block_; }
  DDS_DEVICE int row_block() const { return static_cast<int>(blockIdx.y); }

  DDS_DEVICE char* shared() const { return shared_; }

  // That of another CTA of the cluster.
  DDS_DEVICE char* peer(int rank) const {
#ifdef DDS_CLUSTERS
    char* result;
    asm("mapa.u64 %0, %1, %2;" : "=l"(result) : "l"(shared_), "r"(rank));
    return result;
#else
    return shared_;
#endif
  }

  // All threads of the CTA.
  DDS_DEVICE void sync() const { __syncthreads(); }

  // All threads of the cluster; what they wrote before is seen by all.
  DDS_DEVICE void meet() const {
#ifdef DDS_CLUSTERS
    if (n_ctas_ > 1) {
      __syncwarp();
      asm volatile(
          "barrier.cluster.arrive.release.aligned;\n"
          "barrier.cluster.wait.acquire.aligned;" ::
              : "memory");
      return;
    }
#endif
    __syncthreads();
  }

  DDS_DEVICE void make_barriers(uint64_t* barriers, int n) const {
    if (threadIdx.x != 0) return;
#ifdef DDS_CLUSTERS
    constexpr int kArrivals = 1;
#else
    constexpr int kArrivals = kBankThreads;
#endif
    for (int i = 0; i < n; ++i) {
      asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(address(barriers + i)), "r"(kArrivals)
                   : "memory");
    }
#ifdef DDS_CLUSTERS
    // The copy engine reads them too.
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
  }

  // A chunk on its way; called by all threads.
  DDS_DEVICE void fetch(char* to, const char* from, uint64_t* barrier) const {
#ifdef DDS_CLUSTERS
    if (threadIdx.x != 0) return;
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(address(barrier)),
                 "r"(kChunkBytes)
                 : "memory");
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
            "r"(address(to)),
        "l"(from), "r"(kChunkBytes), "r"(address(barrier))
        : "memory");
#else
    for (int i = static_cast<int>(threadIdx.x) * 16; i < kChunkBytes; i += kBankThreads * 16) {
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address(to + i)), "l"(from + i)
                   : "memory");
    }
    asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(address(barrier))
                 : "memory");
#endif
  }

  // Until the barrier's phase of this parity is complete.
  DDS_DEVICE void wait(uint64_t* barrier, unsigned parity) const {
    unsigned done = 0;
    while (!done) {
      asm volatile(
          "{\n"
          ".reg .pred p;\n"
#ifdef DDS_CLUSTERS
          "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
#else
          "mbarrier.test_wait.parity.shared.b64 p, [%1], %2;\n"
#endif
          "selp.u32 %0, 1, 0, p;\n"
          "}"
          : "=r"(done)
          : "r"(address(barrier)), "r"(parity)
          : "memory");
    }
  }

  DDS_DEVICE float shuffle_xor(float value, int mask) const {
    return __shfl_xor_sync(0xffffffffu, value, mask);
  }

  // sums += weights x (low, high): a warp's tile of 16 columns and 8 rows.
  template <Precision kPrecision>
  DDS_DEVICE void multiply(float (&sums)[4], const Word4& weights, uint32_t low,
                           uint32_t high) const {
    if constexpr (kPrecision == Precision::bfloat16) {
      asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
          "{%8, %9}, {%0, %1, %2, %3};"
          : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
          : "r"(weights.x), "r"(weights.y), "r"(weights.z), "r"(weights.w), "r"(low), "r"(high));
    } else {
      asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
          "{%8, %9}, {%0, %1, %2, %3};"
          : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
          : "r"(weights.x), "r"(weights.y), "r"(weights.z), "r"(weights.w), "r"(low), "r"(high));
    }
  }

  // Asks for memory to be brought into the second-level cache.
  DDS_DEVICE void prefetch(const char* from, uint32_t bytes) const {
#ifdef DDS_CLUSTERS
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
#else
    (void)from, (void)bytes;
#endif
  }

 private:
  DDS_DEVICE static uint32_t address(const void* shared) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  }

  char* shared_;
  int n_ctas_, rank_, block_;
};

}  // namespace dds
