// The instruction-set levels that are built, lowest first: X(name) for each. What is compiled once
// per level lies in a namespace level_<name>.
#pragma once

#ifdef DDS_X86_KERNELS
#define DDS_EACH_LEVEL(X) X(portable) X(avx2) X(avx512) X(avx512_bf16) X(amx)
#else
#define DDS_EACH_LEVEL(X) X(portable)
#endif
