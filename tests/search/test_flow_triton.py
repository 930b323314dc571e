"""Flows by Triton kernels against the float64 reference: on a GPU, or in Triton's interpreter."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from tolerances import PRECISION, RATIO, assert_close
from torch import Tensor

from dds_fast import ops
from dds_fast.flows import ConditionalGlow, RealNVPBank
from dds_fast.flows.reference import flow as reference
from dds_fast.ops import Coupling, FrozenFlow, FrozenStep
from dds_fast.search.gpu import flow as triton
from dds_fast.search.gpu.weights import Tiles

CASES = {
    "bank S=2 F=11 R=3": (partial(RealNVPBank, 2, 11, n_steps=3, width=6, depth=3), (2, 3, 11)),
    "bank S=1 F=37 R=17": (partial(RealNVPBank, 1, 37, n_steps=2, width=19, depth=2), (1, 17, 37)),
    "bank S=2 F=6 R=67": (partial(RealNVPBank, 2, 6, n_steps=1, width=5, depth=1), (2, 67, 6)),
    "bank S=2 F=7 R=1 no hidden": (
        partial(RealNVPBank, 2, 7, n_steps=2, width=5, depth=0),
        (2, 1, 7),
    ),
    "glow F=11 R=5": (partial(ConditionalGlow, 3, 11, n_steps=2, width=6, depth=3), (1, 5, 11)),
    "glow F=38 R=70": (partial(ConditionalGlow, 3, 38, n_steps=1, width=20, depth=1), (1, 70, 38)),
}


def make(case: str) -> tuple[FrozenFlow, list[Tensor]]:
    """A flow in float64, rows, and cotangents of the result and its log-determinant."""
    build, shape = CASES[case]
    generator = torch.Generator().manual_seed(0)
    flow = build().double()
    if isinstance(flow, ConditionalGlow):
        flow.initialize(torch.rand(64, shape[-1], generator=generator, dtype=torch.float64))
    sizes = (shape, shape, shape[:2])
    return flow.freeze(), [torch.randn(s, generator=generator).double() for s in sizes]


@pytest.mark.parametrize("direction", ["encode", "decode"])
@pytest.mark.parametrize("precision", PRECISION)
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients(
    triton_device: torch.device, case: str, precision: str, direction: str
) -> None:
    if direction == "encode" and precision != "float32":
        pytest.skip("the directions differ in the affine map alone, which is float32")
    flow, (rows, *cotangents) = make(case)
    expected, log_det, stash = reference.forward(flow, rows, direction)
    gradient = reference.backward(flow, stash, *cotangents, direction)

    single = flow.to(torch.float32, triton_device)
    rows, *cotangents = (t.float().to(triton_device) for t in (rows, *cotangents))
    rows.requires_grad_()
    op = ops.flow_encode if direction == "encode" else ops.flow_decode
    actual = op(single, rows, precision=precision, backend="triton")
    (actual_gradient,) = torch.autograd.grad(actual, rows, cotangents)
    bounds = PRECISION[precision]
    assert_close("rows", actual[0].cpu(), expected, bounds["output"])
    assert_close("log-det", actual[1].cpu(), log_det, bounds["log_det"])
    assert_close("gradient", actual_gradient.cpu(), gradient, bounds["gradient"])


@pytest.mark.parametrize("case", ["bank S=2 F=11 R=3", "glow F=11 R=5"])
def test_same_bits_without_a_stash_and_again(triton_device: torch.device, case: str) -> None:
    flow, (rows, *_) = make(case)
    flow, rows = flow.to(torch.float32, triton_device), rows.float().to(triton_device)
    kept, log_det, _ = triton.forward(flow, rows, "decode", keep=True)
    for _ in range(2):
        out, again, stash = triton.forward(flow, rows, "decode", keep=False)
        assert stash is None and torch.equal(out, kept) and torch.equal(again, log_det)


def test_rows_pass_through_the_flows_that_are_named(triton_device: torch.device) -> None:
    flow, (rows, grad, grad_log_det) = make("bank S=2 F=11 R=3")
    flow = flow.to(torch.float32, triton_device)
    rows, grad, grad_log_det = (t.float().to(triton_device) for t in (rows, grad, grad_log_det))
    out, log_det, stash = triton.forward(flow, rows, "decode")
    gradient = triton.backward(flow, stash, grad, grad_log_det, "decode")
    groups = torch.tensor([1], device=triton_device)
    one, one_log_det, stash = triton.forward(flow, rows[groups], "decode", groups=groups)
    one_gradient = triton.backward(flow, stash, grad[groups], grad_log_det[groups], "decode")
    assert torch.equal(one, out[groups]) and torch.equal(one_log_det, log_det[groups])
    assert torch.equal(one_gradient, gradient[groups])


@pytest.mark.parametrize("case", ["bank S=2 F=11 R=3", "glow F=11 R=5"])
def test_strided_and_empty_rows(triton_device: torch.device, case: str) -> None:
    flow, (rows, *_) = make(case)
    flow, rows = flow.to(torch.float32, triton_device), rows.float().to(triton_device)
    wide = torch.stack([rows, rows], dim=-1)
    expected = ops.flow_decode(flow, rows, backend="triton")
    actual = ops.flow_decode(flow, wide[..., 0], backend="triton")
    assert all(torch.equal(a, e) for a, e in zip(actual, expected, strict=True))
    none = rows[:, :0].requires_grad_()
    x, log_det = ops.flow_decode(flow, none, backend="triton")
    (gradient,) = torch.autograd.grad([x.sum(), log_det.sum()], none)
    assert x.shape == none.shape == gradient.shape and log_det.shape == none.shape[:2]


@pytest.mark.parametrize("direction", ["encode", "decode"])
def test_single_coupling(triton_device: torch.device, direction: str) -> None:
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    weights, biases = (normal(2, 5, 4), normal(2, 6, 5)), (normal(2, 5), normal(2, 6))
    coupling = Coupling(weights, biases, normal(2), normal(2), "leaky_relu")
    flow = FrozenFlow((FrozenStep(coupling),), torch.zeros(2, dtype=torch.float64))
    x, grad = normal(2, 3, 7), normal(2, 3, 7)
    op = ops.flow_encode if direction == "encode" else ops.flow_decode
    exact = x.double().requires_grad_()
    expected = op(flow.to(torch.float64), exact, backend="reference")
    (gradient,) = torch.autograd.grad(expected[0], exact, grad.double())

    single = x.to(triton_device).requires_grad_()
    actual = op(flow.to(torch.float32, triton_device), single, backend="triton")
    (actual_gradient,) = torch.autograd.grad(actual[0], single, grad.to(triton_device))
    bounds = RATIO[torch.float32]
    assert_close("rows", actual[0].detach().cpu(), expected[0].detach(), bounds["output"])
    assert_close("log-det", actual[1].detach().cpu(), expected[1].detach(), bounds["log_det"])
    assert_close("gradient", actual_gradient.cpu(), gradient, bounds["gradient"])


def test_refusals_name_their_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    flow, (rows, *_) = make("glow F=11 R=5")
    with pytest.raises(RuntimeError, match="with float32 tensors, not in float64"):
        ops.flow_decode(flow, rows, backend="triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(RuntimeError, match="computes on cuda, not on cpu"):
        ops.flow_decode(flow.to(torch.float32), rows.float(), backend="triton")


@pytest.mark.parametrize("size", [8, 24])
def test_blocks_that_the_hardware_refuses_are_refused_everywhere(size: int) -> None:
    with pytest.raises(ValueError, match="powers of two from 16 on"):
        Tiles(m=size, k=32, r=16, warps=4)
