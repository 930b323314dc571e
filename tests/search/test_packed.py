"""Packed flows: made once, kept with the flow, and no larger than they must be."""

from __future__ import annotations

import torch

from dds_fast import _native
from dds_fast.flows import ConditionalGlow, RealNVPBank
from dds_fast.search.cpu.weights import packed_flow


def test_a_flow_is_packed_once_per_direction_and_precision() -> None:
    flow = RealNVPBank(2, 42, n_steps=2, width=11, depth=1).freeze()
    first = packed_flow(flow, "decode", "float32")
    assert packed_flow(flow, "decode", "float32") is first
    assert packed_flow(flow, "decode", "bfloat16") is not first
    assert packed_flow(flow, "encode", "float32") is not first


def test_both_directions_share_the_weights_of_the_couplings() -> None:
    flow = ConditionalGlow(2, 42, n_steps=2, width=11, depth=1).freeze()
    decode, encode = (packed_flow(flow, d, "float32") for d in ("decode", "encode"))
    # coupling, alpha, beta, permutation, adjoint, mixing; in the order of the direction
    for there, back in zip(decode.tensors, encode.tensors[::-1], strict=True):
        assert there[0] is back[0]
        assert not torch.equal(there[5], back[5])


def test_bfloat16_halves_the_weights() -> None:
    flow = RealNVPBank(1, 512, n_steps=1, width=128, depth=4).freeze()
    sizes = {
        p: packed_flow(flow, "decode", p).tensors[0][0].numel() for p in ("float32", "bfloat16")
    }
    assert 0.5 <= sizes["bfloat16"] / sizes["float32"] < 0.52


def test_huge_pages_keep_what_memory_holds() -> None:
    memory = torch.arange(6 << 20, dtype=torch.int32)
    _native.cpu().prefer_huge_pages(memory.data_ptr(), memory.nbytes)
    assert torch.equal(memory, torch.arange(6 << 20, dtype=torch.int32))
