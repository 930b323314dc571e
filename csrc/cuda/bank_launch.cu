#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#include "bank_kernel.h"

namespace dds {
namespace {

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

const void* kernel_of(Pass pass, Precision precision) {
  if (pass == Pass::forward) return bank_forward_kernel(precision);
  return pass == Pass::backward ? bank_backward_kernel(precision) : bank_update_kernel(precision);
}

}  // namespace

void bank_launch(Pass pass, const BankArguments& arguments, void* stream) {
  const BankPlan& plan = arguments.plan;
  const void* kernel = kernel_of(pass, plan.shape.precision);
  check(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, plan.shared_bytes),
      "shared memory of a flow kernel");
  cudaLaunchAttribute cluster = {};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim.x = static_cast<unsigned>(plan.shape.n_ctas);
  cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(arguments.n_blocks * plan.shape.n_ctas),
                        static_cast<unsigned>(plan.n_row_blocks));
  config.blockDim = dim3(kBankThreads);
  config.dynamicSmemBytes = static_cast<size_t>(plan.shared_bytes);
  config.stream = static_cast<cudaStream_t>(stream);
  config.attrs = &cluster;
  config.numAttrs = plan.shape.n_ctas > 1 ? 1 : 0;
  void* parameters[] = {const_cast<BankArguments*>(&arguments)};
  check(cudaLaunchKernelExC(&config, kernel, parameters), "launch of a flow kernel");
}

}  // namespace dds
