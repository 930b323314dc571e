"""The frozen flow ops against the trainable flows, and their gradients."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from tolerances import PRECISION, RATIO, assert_close
from torch import Tensor, nn

from dds_fast import ops
from dds_fast.flows import ConditionalGlow, RealNVPBank
from dds_fast.search import dispatch
from dds_fast.search.engines import ENGINES

CASES = {
    "bank S=7 F=42 R=3": (partial(RealNVPBank, 7, 42, n_steps=4, width=11, depth=2), (7, 3, 42)),
    "bank S=1 F=6 R=17": (partial(RealNVPBank, 1, 6, n_steps=2, width=5, depth=1), (1, 17, 6)),
    "bank S=7 F=123 R=1": (partial(RealNVPBank, 7, 123, n_steps=2, width=16, depth=4), (7, 1, 123)),
    "glow F=42 R=17": (partial(ConditionalGlow, 3, 42, n_steps=4, width=11, depth=3), (1, 17, 42)),
    "glow F=123 R=0": (partial(ConditionalGlow, 3, 123, n_steps=2, width=8, depth=1), (1, 0, 123)),
}


def runnable(dtype: torch.dtype) -> list[str]:
    """Backends for the CPU; Triton's interpreter has tests of its own, at sizes to its liking."""
    request = dispatch.Request.of(torch.empty(0, dtype=dtype))
    return [
        name for name, engine in ENGINES.items() if name != "triton" and engine.can_run(request)
    ]


def make(case: str) -> tuple[nn.Module, Tensor]:
    build, shape = CASES[case]
    flow = build().double()
    generator = torch.Generator().manual_seed(0)
    if isinstance(flow, ConditionalGlow):
        flow.initialize(torch.rand(64, shape[-1], generator=generator, dtype=torch.float64))
    return flow, torch.randn(shape, generator=generator, dtype=torch.float64)


def through(flow: nn.Module, direction: str, value: Tensor) -> tuple[Tensor, Tensor]:
    """The trainable flow, on grouped rows."""
    function = getattr(flow, direction)
    if isinstance(flow, RealNVPBank):
        return function(value)
    out, log_det = function(value[0])
    return out[None], log_det[None]


@pytest.mark.parametrize("direction", ["encode", "decode"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", runnable(torch.float32))
def test_values_and_gradients_agree_with_the_trainable_flow(
    case: str, direction: str, backend: str
) -> None:
    flow, value = make(case)
    value.requires_grad_()
    expected, expected_log_det = through(flow, direction, value)
    generator = torch.Generator().manual_seed(3)
    cotangents = [
        torch.randn(t.shape, generator=generator, dtype=torch.float64)
        for t in (expected, expected_log_det)
    ]
    (expected_gradient,) = torch.autograd.grad([expected, expected_log_det], value, cotangents)

    frozen = flow.freeze().to(torch.float32)
    value32 = value.detach().float().requires_grad_()
    op = ops.flow_encode if direction == "encode" else ops.flow_decode
    out, log_det = op(frozen, value32, backend=backend)
    (gradient,) = torch.autograd.grad([out, log_det], value32, [c.float() for c in cotangents])
    assert out.dtype == log_det.dtype == torch.float32
    bounds = RATIO[torch.float32]
    assert_close("rows", out, expected, bounds["output"])
    assert_close("log-det", log_det, expected_log_det, bounds["log_det"])
    assert_close("gradient", gradient, expected_gradient, bounds["gradient"])


PRECISION_CASES = {
    "bank S=7 F=42 R=3": (partial(RealNVPBank, 7, 42, n_steps=4, width=11, depth=2), (7, 3, 42)),
    "bank S=2 F=123 R=37": (
        partial(RealNVPBank, 2, 123, n_steps=3, width=70, depth=0),
        (2, 37, 123),
    ),
    "bank S=1 F=6 R=1": (partial(RealNVPBank, 1, 6, n_steps=2, width=5, depth=1), (1, 1, 6)),
    "bank S=2 F=690 R=3": (
        partial(RealNVPBank, 2, 690, n_steps=2, width=40, depth=1),
        (2, 3, 690),
    ),
    "bank S=3 F=256 R=20": (
        partial(RealNVPBank, 3, 256, n_steps=4, width=128, depth=4),
        (3, 20, 256),
    ),
    "glow F=123 R=17": (
        partial(ConditionalGlow, 3, 123, n_steps=3, width=70, depth=3),
        (1, 17, 123),
    ),
    "glow F=64 R=250": (
        partial(ConditionalGlow, 3, 64, n_steps=4, width=130, depth=3),
        (1, 250, 64),
    ),
}


@pytest.mark.parametrize("direction", ["encode", "decode"])
@pytest.mark.parametrize("precision", PRECISION)
@pytest.mark.parametrize("case", PRECISION_CASES)
def test_every_precision_at_every_level(
    level: str, case: str, precision: str, direction: str
) -> None:
    build, shape = PRECISION_CASES[case]
    generator = torch.Generator().manual_seed(0)
    flow = build().double()
    if isinstance(flow, ConditionalGlow):
        flow.initialize(torch.rand(64, shape[-1], generator=generator, dtype=torch.float64))
    value, *cotangents = (
        torch.randn(size, generator=generator).double() for size in (shape, shape, shape[:2])
    )
    op = ops.flow_encode if direction == "encode" else ops.flow_decode
    frozen, value = flow.freeze(), value.requires_grad_()
    expected = op(frozen, value)
    (expected_gradient,) = torch.autograd.grad(expected, value, cotangents)

    value32 = value.detach().float().requires_grad_()
    actual = op(frozen.to(torch.float32), value32, precision=precision, backend="cpu")
    (gradient,) = torch.autograd.grad(actual, value32, [c.float() for c in cotangents])
    bounds = PRECISION[precision]
    assert_close("rows", actual[0], expected[0].detach(), bounds["output"])
    assert_close("log-det", actual[1], expected[1].detach(), bounds["log_det"])
    assert_close("gradient", gradient, expected_gradient, bounds["gradient"])


@pytest.mark.parametrize("precision", PRECISION)
def test_same_bits_for_any_thread_count_and_batch_of_rows(level: str, precision: str) -> None:
    """Many rows are shared out by rows, few by columns; neither changes a result."""
    flow = ConditionalGlow(3, 123, n_steps=2, width=70, depth=2).freeze()
    z, grad = torch.randn(2, 1, 230, 123, generator=torch.Generator().manual_seed(0))

    def run(rows: slice) -> tuple[Tensor, Tensor]:
        value = z[:, rows].clone().requires_grad_()
        x, _ = ops.flow_decode(flow, value, precision=precision, backend="cpu")
        return x.detach(), torch.autograd.grad(x, value, grad[:, rows])[0]

    expected = run(slice(None))
    before = torch.get_num_threads()
    try:
        for n_threads in (1, 2, 5):
            torch.set_num_threads(n_threads)
            for actual, first in zip(run(slice(None)), expected, strict=True):
                assert torch.equal(actual, first)
            # In bfloat16, the gradient of up to three rows is summed in another order.
            for rows in (slice(40, 47), *[slice(40, 42)] * (precision == "float32")):
                for actual, first in zip(run(rows), expected, strict=True):
                    assert torch.equal(actual, first[:, rows])
    finally:
        torch.set_num_threads(before)


def test_lower_precisions_belong_to_a_backend_that_has_them() -> None:
    flow, value = make("bank S=7 F=42 R=3")
    frozen, value = flow.freeze().to(torch.float32), value.float()
    with pytest.raises(RuntimeError, match="float64 or float32, not bfloat16"):
        ops.flow_decode(frozen, value, precision="bfloat16", backend="reference")
    with pytest.raises(RuntimeError, match="no backend of flow can run tf32 on cpu"):
        ops.flow_decode(frozen, value, precision="tf32")
    with pytest.raises(ValueError, match="precision must be one of"):
        ops.flow_decode(frozen, value, precision="half")


def test_nan_stays_in_its_row(level: str) -> None:
    frozen = RealNVPBank(1, 70, n_steps=2, width=33, depth=1).freeze()
    z = torch.randn(1, 40, 70, generator=torch.Generator().manual_seed(0))
    z[0, 17, 3] = torch.nan
    for precision in PRECISION:
        x, log_det = ops.flow_decode(frozen, z, precision=precision, backend="cpu")
        assert x[0, 17].isnan().any() and log_det[0, 17].isnan()
        others = torch.arange(40) != 17
        assert x[0, others].isfinite().all() and log_det[0, others].isfinite().all()


@pytest.mark.gradcheck
@pytest.mark.parametrize("op", [ops.flow_encode, ops.flow_decode])
@pytest.mark.parametrize("case", ["bank S=1 F=6 R=17", "glow F=42 R=17"])
def test_gradcheck(case: str, op: object) -> None:
    flow, value = make(case)
    frozen = flow.freeze()
    assert torch.autograd.gradcheck(lambda v: op(frozen, v), value[:, :3].clone().requires_grad_())


def test_double_backward_raises() -> None:
    flow, value = make("bank S=1 F=6 R=17")
    x, _ = ops.flow_decode(flow.freeze(), value.requires_grad_())
    (gradient,) = torch.autograd.grad(x.square().sum(), value, create_graph=True)
    with pytest.raises(RuntimeError, match="double backward"):
        gradient.sum().backward()


def test_freezing_copies() -> None:
    flow, value = make("glow F=42 R=17")
    frozen = flow.freeze()
    before, _ = ops.flow_decode(frozen, value)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(1)
    after, _ = ops.flow_decode(frozen, value)
    assert torch.equal(before, after)


def test_selected_groups_are_a_bank_of_their_own() -> None:
    flow, value = make("bank S=7 F=42 R=3")
    frozen, groups = flow.freeze(), torch.tensor([5, 2])
    x, log_det = ops.flow_decode(frozen, value)
    x_selected, log_det_selected = ops.flow_decode(frozen.select(groups), value[groups])
    torch.testing.assert_close(x_selected, x[groups])
    torch.testing.assert_close(log_det_selected, log_det[groups])


def test_one_flow_takes_plain_rows() -> None:
    flow, value = make("glow F=42 R=17")
    x, log_det = ops.flow_decode(flow.freeze(), value[0])
    assert x.shape == (17, 42) and log_det.shape == (17,)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((2, 3, 42), torch.float64, "must be"),
        ((7, 3, 41), torch.float64, "must be"),
        ((3, 42), torch.float64, "must be"),
        ((7, 3, 42), torch.float32, "float32"),
    ],
)
def test_wrong_rows_are_refused(shape: tuple, dtype: torch.dtype, message: str) -> None:
    flow, _ = make("bank S=7 F=42 R=3")
    with pytest.raises(ValueError, match=message):
        ops.flow_decode(flow.freeze(), torch.zeros(shape, dtype=dtype))


def test_unknown_backend_names_the_known_ones() -> None:
    flow, value = make("bank S=7 F=42 R=3")
    with pytest.raises(ValueError, match="it has .*reference"):
        ops.flow_decode(flow.freeze(), value, backend="tpu")


def test_forced_backend_that_cannot_run_says_why() -> None:
    flow, value = make("bank S=7 F=42 R=3")
    with pytest.raises(RuntimeError, match="float32"):
        ops.flow_decode(flow.freeze(), value, backend="cpu")


def test_environment_stands_in_for_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    flow, value = make("bank S=7 F=42 R=3")
    monkeypatch.setenv("DDS_FAST_BACKEND", "cpu")
    with pytest.raises(RuntimeError, match="float32"):
        ops.flow_decode(flow.freeze(), value)
    ops.flow_decode(flow.freeze(), value, backend="reference")
