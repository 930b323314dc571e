#include <stdexcept>

#include "cuda/bank_arguments.h"
#include "cuda/bank_program.h"
#include "host_machine.h"

namespace dds {
namespace {

template <Precision kPrecision>
void run_thread(Pass pass, const BankArguments& arguments, HostMachine& machine) {
  const BankBlock<HostMachine, kPrecision> block(machine, arguments);
  BankProgram<HostMachine, kPrecision> program(block);
  if (pass == Pass::forward) {
    program.forward();
  } else if (pass == Pass::backward) {
    program.backward();
  } else {
    program.update();
  }
}

void run_thread(Pass pass, const BankArguments& arguments, HostMachine& machine) {
  switch (arguments.plan.shape.precision) {
    case Precision::float32:
      return run_thread<Precision::float32>(pass, arguments, machine);
    case Precision::tf32:
      return run_thread<Precision::tf32>(pass, arguments, machine);
    case Precision::bfloat16:
      return run_thread<Precision::bfloat16>(pass, arguments, machine);
  }
}

}  // namespace

void bank_emulate(Pass pass, const BankArguments& arguments, uint64_t order) {
  const BankShape& shape = arguments.plan.shape;
  const bool stopped =
      pass == Pass::update && arguments.update.stopped && *arguments.update.stopped;
  int64_t n_chunks = 0;
  if (pass != Pass::backward) n_chunks += shape.forward_chunks;
  if (pass != Pass::forward) n_chunks += shape.backward_chunks;
  const int64_t expected = stopped ? 0 : n_chunks * shape.n_steps;
  for (int block = 0; block < arguments.n_blocks; ++block) {
    for (int row_block = 0; row_block < arguments.plan.n_row_blocks; ++row_block) {
      ClusterState cluster;
      for (int i = 0; i < shape.n_ctas; ++i) {
        cluster.ctas.emplace_back(arguments.plan.shared_bytes);
      }
      cluster.block = block;
      cluster.row_block = row_block;
      Fibers::run(shape.n_ctas * kBankThreads, order, {32, kBankThreads}, [&](int thread) {
        HostMachine machine(cluster, thread);
        run_thread(pass, arguments, machine);
      });
      for (const CtaState& cta : cluster.ctas) {
        if (cta.n_fetched != expected || !cta.pending.empty()) {
          throw std::runtime_error("chunks were left over, or fetched that nobody read");
        }
      }
    }
  }
}

}  // namespace dds
