// The factorisation kernels of one instruction-set level, for cpu/kernels_<level>.cpp.
#pragma once

#include "cpu/nmf_table.h"
#include "nmf_candidates.h"
#include "nmf_elementwise.h"

namespace dds::DDS_LEVEL {

static constexpr NmfKernels kNmfKernels = {residual,  ratio,     quotient, adam,
                                           adam_gram, gram_cost, refine};

}  // namespace dds::DDS_LEVEL
