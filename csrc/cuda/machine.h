// What the code of a block needs of the compiler: the same code runs on the device and, emulated,
// on the host.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define DDS_DEVICE __device__ __forceinline__
#define DDS_UNROLL _Pragma("unroll")
#define DDS_UNROLL_1 _Pragma("unroll 1")
#define DDS_UNROLL_4 _Pragma("unroll 4")
#else
#define DDS_DEVICE inline
#define DDS_UNROLL _Pragma("GCC unroll 8")
#define DDS_UNROLL_1
#define DDS_UNROLL_4
#endif

namespace dds {

#ifdef __CUDACC__
using Float2 = float2;
using Float4 = float4;
using Word4 = uint4;
#else
struct alignas(8) Float2 {
  float x, y;
};
struct alignas(16) Float4 {
  float x, y, z, w;
};
struct alignas(16) Word4 {
  uint32_t x, y, z, w;
};
#endif

}  // namespace dds
