"""A single coupling on the CPU: every instruction-set level against the float64 reference."""

from __future__ import annotations

import subprocess

import fresh
import pytest
import torch
from tolerances import RATIO, assert_close
from torch import Tensor

from dds_fast import _native, ops
from dds_fast.flows.frozen import Coupling, FrozenFlow, FrozenStep
from dds_fast.flows.reference import coupling as reference
from dds_fast.search.cpu import can_run
from dds_fast.search.cpu import flow as cpu
from dds_fast.search.dispatch import Request

DIRECTIONS = ("encode", "decode")
ACTIVATIONS = ("selu", "leaky_relu")

# groups, rows, features, width, hidden layers
SHAPES = [
    (1, 1, 6, 5, 1),
    (7, 3, 42, 5, 2),
    (2, 17, 123, 128, 4),
    (7, 17, 6, 128, 1),
    (1, 64, 512, 128, 3),
    (1, 130, 33, 70, 2),
    (2, 5, 7, 3, 0),
    (3, 4, 1, 5, 1),
]
EMPTY_SHAPES = [(1, 0, 42, 5, 2), (7, 0, 6, 128, 1), (0, 3, 42, 5, 2)]


def make_coupling(
    groups: int, features: int, width: int, depth: int, activation: str = "selu"
) -> Coupling:
    """A random coupling in float64 whose activations stay of order one."""
    generator = torch.Generator().manual_seed(features + width)
    passing, moving = (features + 1) // 2, features // 2
    sizes = [passing, *[width] * depth, 2 * moving]

    def normal(*shape: int) -> Tensor:
        # Rounded to float32, so that both precisions compute with the same numbers.
        return torch.randn(*shape, generator=generator).double()

    weights = [
        (normal(groups, n_out, n_in) / n_in**0.5).float().double()
        for n_in, n_out in zip(sizes, sizes[1:], strict=False)
    ]
    biases = [normal(groups, n_out) for n_out in sizes[1:]]
    return Coupling(tuple(weights), tuple(biases), normal(groups), normal(groups), activation)


def one_step(coupling: Coupling) -> FrozenFlow:
    """A flow without a mixing."""
    return FrozenFlow((FrozenStep(coupling),), torch.zeros(coupling.n_groups).double())


def to_float32(coupling: Coupling) -> FrozenFlow:
    return one_step(coupling).to(torch.float32)


def normal_rows(*shape: int, random_state: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(random_state))


def assert_matches_reference(coupling: Coupling, x: Tensor, direction: str) -> None:
    """Outputs and gradients of the CPU kernels in float32 against the reference in float64."""
    tolerance = RATIO[torch.float32]
    exact = reference.forward(coupling, x.double(), direction)
    single = to_float32(coupling)
    out, log_det, stash = cpu.forward(single, x, direction)
    assert_close("output", out, exact[0], tolerance["output"])
    assert_close("log_det", log_det, exact[1], tolerance["log_det"])

    grad_out = normal_rows(*x.shape, random_state=1)
    for grad_log_det in (normal_rows(*x.shape[:2], random_state=2), None):
        grad = cpu.backward(single, stash, grad_out, grad_log_det, direction)
        exact_grad = reference.backward(
            coupling,
            exact[2],
            grad_out.double(),
            None if grad_log_det is None else grad_log_det.double(),
            direction,
        )
        assert_close("gradient", grad, exact_grad, tolerance["gradient"])


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cpu_matches_reference(
    level: str, shape: tuple[int, ...], activation: str, direction: str
) -> None:
    groups, rows, features, width, depth = shape
    coupling = make_coupling(groups, features, width, depth, activation)
    assert_matches_reference(coupling, normal_rows(groups, rows, features), direction)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7, 97, 200])
def test_every_tile_height(level: str, rows: int, direction: str) -> None:
    coupling = make_coupling(2, 70, 65, 2)
    assert_matches_reference(coupling, normal_rows(2, rows, 70), direction)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("shape", EMPTY_SHAPES, ids=str)
def test_empty(level: str, shape: tuple[int, ...], direction: str) -> None:
    groups, rows, features, width, depth = shape
    flow = to_float32(make_coupling(groups, features, width, depth))
    x = normal_rows(groups, rows, features)
    out, log_det, stash = cpu.forward(flow, x, direction)
    assert out.shape == x.shape and log_det.shape == (groups, rows)
    assert cpu.backward(flow, stash, x, log_det, direction).shape == x.shape


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_without_stash(level: str, direction: str) -> None:
    flow = to_float32(make_coupling(3, 42, 33, 3))
    x = normal_rows(3, 11, 42)
    out, log_det, _ = cpu.forward(flow, x, direction)
    bare_out, bare_log_det, stash = cpu.forward(flow, x, direction, keep=False)
    assert stash is None
    assert torch.equal(out, bare_out) and torch.equal(log_det, bare_log_det)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_strided(level: str, direction: str) -> None:
    coupling = make_coupling(3, 42, 33, 2)
    strided = Coupling(
        tuple(w.transpose(1, 2).contiguous().transpose(1, 2) for w in coupling.weights),
        tuple(b.repeat_interleave(2, 1)[:, ::2] for b in coupling.biases),
        coupling.alpha.repeat_interleave(2)[::2],
        coupling.beta[:1].expand(3),
        "selu",
    )
    x = normal_rows(11, 42, 3).permute(2, 0, 1)
    assert not x.is_contiguous()
    assert_matches_reference(strided, x, direction)

    single = to_float32(coupling)
    _, _, stash = cpu.forward(single, x.contiguous(), direction)
    grad_out = normal_rows(3, 11, 84)[..., ::2]
    grad_log_det = torch.ones(1, 1).expand(3, 11)
    assert torch.equal(
        cpu.backward(single, stash, grad_out, grad_log_det, direction),
        cpu.backward(single, stash, grad_out.contiguous(), grad_log_det.contiguous(), direction),
    )


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_extreme_inputs(level: str, activation: str, direction: str) -> None:
    """Large inputs saturate tanh; the results stay finite and as exact as for small ones."""
    coupling = make_coupling(2, 43, 20, 2, activation)
    x = normal_rows(2, 9, 43) * torch.logspace(-30, 4, 9)[:, None]
    x[0, 0] = 0.0
    assert_matches_reference(coupling, x, direction)


def test_large_log_scales(level: str) -> None:
    """A factor e^s at the ends of float32 is exact, not clamped or flushed."""
    coupling = make_coupling(1, 6, 5, 1)
    for beta in (-100.0, 88.0, 120.0):
        coupling.beta.fill_(beta)
        coupling.alpha.zero_()
        single = to_float32(coupling)
        _, log_det, stash = cpu.forward(single, normal_rows(1, 4, 6), "encode")
        assert (log_det == 3 * beta).all()
        factor = cpu.backward(single, stash, torch.ones(1, 4, 6), None, "encode")[..., 3:]
        assert (factor == torch.tensor(beta, dtype=torch.float64).exp().float()).all()


def test_nan_passes_through(level: str) -> None:
    flow = to_float32(make_coupling(1, 6, 5, 1))
    x = normal_rows(1, 4, 6)
    x[0, 2, 0] = torch.nan
    out, log_det, _ = cpu.forward(flow, x, "decode")
    assert out[0, 2, 3:].isnan().all() and log_det[0, 2].isnan()
    assert out[0, [0, 1, 3]].isfinite().all()


def test_same_bits_for_any_thread_count_and_batch(level: str) -> None:
    flow = to_float32(make_coupling(3, 123, 70, 3))
    x, grad_log_det = normal_rows(3, 100, 123), normal_rows(3, 100)

    def run(x: Tensor, grad_log_det: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        out, log_det, stash = cpu.forward(flow, x, "decode")
        return out, log_det, cpu.backward(flow, stash, x, grad_log_det, "decode")

    expected = run(x, grad_log_det)
    before = torch.get_num_threads()
    try:
        for n_threads in (1, 2, 5):
            torch.set_num_threads(n_threads)
            for actual, first in zip(run(x, grad_log_det), expected, strict=True):
                assert torch.equal(actual, first)
    finally:
        torch.set_num_threads(before)
    for actual, first in zip(run(x[:, 40:47], grad_log_det[:, 40:47]), expected, strict=True):
        assert torch.equal(actual, first[:, 40:47])


def test_inputs_stay_untouched(level: str) -> None:
    flow = to_float32(make_coupling(2, 43, 20, 2))
    x, grad_out = normal_rows(2, 9, 43), normal_rows(2, 9, 43, random_state=1)
    copies = x.clone(), grad_out.clone()
    _, _, stash = cpu.forward(flow, x, "encode")
    cpu.backward(flow, stash, grad_out, None, "encode")
    assert torch.equal(x, copies[0]) and torch.equal(grad_out, copies[1])


# ---- who runs ------------------------------------------------------------------------------------


def test_dtype_selects_backend() -> None:
    flow = one_step(make_coupling(2, 13, 8, 2))
    z = normal_rows(2, 5, 13)
    x, log_det = ops.flow_decode(flow, z.double())
    assert x.dtype == log_det.dtype == torch.float64
    single = flow.to(torch.float32)
    x, log_det = ops.flow_decode(single, z)
    assert x.dtype == log_det.dtype == torch.float32
    assert torch.equal(x, cpu.forward(single, z, "decode")[0])


def test_engine_says_why_it_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ImportError("no compiled module")

    monkeypatch.setattr(_native, "cpu", missing)
    request = Request(torch.device("cpu"), torch.float32, "float32")
    assert not can_run(request)
    with pytest.raises(RuntimeError, match="no compiled module"):
        can_run(request, raise_error=True)
    with pytest.raises(RuntimeError, match="computes on cpu, not on meta"):
        can_run(Request(torch.device("meta"), torch.float32, "float32"), raise_error=True)


# ---- instruction-set levels ----------------------------------------------------------------------


def _run_with_level(name: str) -> subprocess.CompletedProcess[str]:
    code = "from dds_fast import _native; print(_native.cpu().level())"
    return fresh.run(code, DDS_FAST_CPU_ISA=name)


def test_environment_forces_level(level: str) -> None:
    assert _run_with_level(level).stdout.strip() == level


@pytest.mark.usefixtures("native_code")
def test_environment_names_unknown_level() -> None:
    result = _run_with_level("mmx")
    assert result.returncode != 0
    assert "ValueError: DDS_FAST_CPU_ISA 'mmx' is unknown; it can be portable" in result.stderr


def test_set_level_names_unknown_level() -> None:
    native = _native.cpu()
    before = native.level()
    with pytest.raises(ValueError, match="'mmx' is unknown"):
        native.set_level("mmx")
    assert native.level() == before
