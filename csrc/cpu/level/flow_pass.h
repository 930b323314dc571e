// What both passes of a block through a flow are made of: the state, the stream of weights, and
// products of the one with the other.
//
// A block's rows stay in the scratch of the team of threads that works on it. Within a team the
// panels of each product are shared out, and so are the rows of what lies between the products.
#pragma once

#include "block_state.h"
#include "coupling.h"
#include "cpu/flow.h"
#include "cpu/flow_block.h"
#include "operand.h"
#include "product.h"
#include "stash.h"
#include "weight_stream.h"

namespace dds::DDS_LEVEL {

enum class Way { forward, backward };

template <Format kAnyFormat, bool kAnyDecode>
class FlowPass {
 public:
  static constexpr Format kFormat = kAnyFormat;
  static constexpr bool kDecode = kAnyDecode;
  using Element = typename Operand<kFormat>::Element;

  FlowPass(const Flow& flow, const FlowBlock& block)
      : flow(flow),
        layout(flow.layout),
        block(block),
        state(flow.layout, block),
        product_(block.n_rows),
        split_product_(block.n_rows),
        stream_(flow, block) {}

  void start(Way way) { stream_.start(product_, way == Way::backward); }

  // A layer of step i.
  template <Way kWay, class Epilogue>
  void multiply_layer(int64_t i, int64_t layer, const Element* a, int64_t stride,
                      const Epilogue& epilogue) {
    multiply<kWay>(product_, stream_.layer(i, layer), a, stride, epilogue);
  }

  // The mixing of step i makes the new state.
  template <Way kWay>
  void mix(int64_t i) {
    const FlowStep& step = flow.steps[i];
    if (step.permutation) {
      state.permute(kWay == Way::forward ? step.permutation : step.adjoint);
    } else if (step.mixing) {
      const StateEpilogue epilogue{state.next(), state.stride()};
      int64_t stride;
      if (layout.mixing_format == Format::float32) {
        const float* a = operand_of_state<Format::float32>(layout.state_width, &stride);
        multiply<kWay>(Product<Format::float32>(block.n_rows), stream_.mixing(i), a, stride,
                       epilogue);
      } else if constexpr (kFormat != Format::float32) {
        const uint16_t* a = operand_of_state<Format::split>(layout.state_width, &stride);
        multiply<kWay>(split_product_, stream_.mixing(i), a, stride, epilogue);
      }
      state.advance();
    }
  }

  // One of two operands of products, and the distance of its rows.
  Element* operand(int64_t i) const {
    return reinterpret_cast<Element*>(block.scratch.operands[i % 2]);
  }
  int64_t operand_stride() const { return block.scratch.operand_bytes / sizeof(Element); }

  // The first `width` places of the state as the first operand.
  template <Format kOperand>
  const typename Operand<kOperand>::Element* operand_of_state(int64_t width, int64_t* stride) {
    using Target = Operand<kOperand>;
    if constexpr (kOperand == Format::float32) {
      *stride = state.stride();
      return state.row(0);
    } else {
      *stride = block.scratch.operand_bytes / sizeof(typename Target::Element);
      auto* rows = reinterpret_cast<typename Target::Element*>(block.scratch.operands[0]);
      const int64_t plane = plane_of(kOperand, *stride);
      state.for_rows([&](int64_t row) {
        for (int64_t i = 0; i < width; i += kLanes) {
          Target::put(rows + row * *stride, plane, i, load(state.row(row) + i));
        }
      });
      state.wait();
      return rows;
    }
  }

  const Flow& flow;
  const FlowLayout& layout;
  const FlowBlock& block;
  BlockState state;

 private:
  template <Way kWay, class AnyProduct, class AnyElement, class Epilogue>
  void multiply(const AnyProduct& product, const Part& part, const AnyElement* a, int64_t stride,
                const Epilogue& epilogue) {
    if constexpr (kWay == Way::forward) {
      product.forward(a, stride, part, stream_.fetcher(), block.scratch.workspace, epilogue);
    } else {
      product.backward(a, stride, part, stream_.fetcher(), block.scratch.workspace, epilogue);
    }
    state.wait();
  }

  const Product<kFormat> product_;
  // Of a split mixing; AMX's products are made once, as they hold the tiles' configuration.
  const Product<kFormat == Format::float32 ? Format::float32 : Format::split> split_product_;
  WeightStream<kDecode> stream_;
};

}  // namespace dds::DDS_LEVEL
