// One kernel per pass and precision; each .cu file of the family instantiates those of one pass.
#pragma once

#include "bank_program.h"
#include "device_machine.h"

namespace dds {

template <Pass kPass, Precision kPrecision>
__global__ void __launch_bounds__(kBankThreads, 1)
    bank_kernel(const __grid_constant__ BankArguments arguments) {
  extern __shared__ __align__(128) char shared[];
  DeviceMachine machine(shared, arguments.plan.shape.n_ctas);
  const BankBlock<DeviceMachine, kPrecision> block(machine, arguments);
  BankProgram<DeviceMachine, kPrecision> program(block);
  if constexpr (kPass == Pass::forward) {
    program.forward();
  } else if constexpr (kPass == Pass::backward) {
    program.backward();
  } else {
    program.update();
  }
}

// The kernel of a pass, as the launch takes it.
template <Pass kPass>
const void* bank_kernel_of(Precision precision) {
  switch (precision) {
    case Precision::float32:
      return reinterpret_cast<const void*>(&bank_kernel<kPass, Precision::float32>);
    case Precision::tf32:
      return reinterpret_cast<const void*>(&bank_kernel<kPass, Precision::tf32>);
    case Precision::bfloat16:
      return reinterpret_cast<const void*>(&bank_kernel<kPass, Precision::bfloat16>);
  }
  return nullptr;
}

const void* bank_forward_kernel(Precision precision);
const void* bank_backward_kernel(Precision precision);
const void* bank_update_kernel(Precision precision);

}  // namespace dds
