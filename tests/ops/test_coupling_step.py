"""The coupling step: every backend and instruction-set level against the float64 reference."""

from __future__ import annotations

import subprocess

import fresh
import pytest
import torch
from tolerances import RATIO, assert_close
from torch import Tensor

from dds_fast import _native
from dds_fast.flows.frozen import Coupling
from dds_fast.ops.coupling_step import coupling_step, cpu, reference
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


def to_float32(coupling: Coupling) -> Coupling:
    return coupling.map(lambda tensor: tensor.float())


def normal_rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def assert_matches_reference(coupling: Coupling, x: Tensor, direction: str) -> None:
    """Outputs and gradients of the CPU kernels in float32 against the reference in float64."""
    tolerance = RATIO[torch.float32]
    exact = reference.forward(coupling, x.double(), direction)
    single = to_float32(coupling)
    out, log_det, stash = cpu.forward(single, x, direction)
    assert_close("output", out, exact[0], tolerance["output"])
    assert_close("log_det", log_det, exact[1], tolerance["log_det"])

    grad_out = normal_rows(*x.shape, seed=1)
    for grad_log_det in (normal_rows(*x.shape[:2], seed=2), None):
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
    coupling = to_float32(make_coupling(groups, features, width, depth))
    x = normal_rows(groups, rows, features)
    out, log_det, stash = cpu.forward(coupling, x, direction)
    assert out.shape == x.shape and log_det.shape == (groups, rows)
    assert cpu.backward(coupling, stash, x, log_det, direction).shape == x.shape


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_without_stash(level: str, direction: str) -> None:
    coupling = to_float32(make_coupling(3, 42, 33, 3))
    x = normal_rows(3, 11, 42)
    out, log_det, _ = cpu.forward(coupling, x, direction)
    bare_out, bare_log_det, stash = cpu.forward(coupling, x, direction, keep=False)
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
        single = to_float32(coupling)
        single.beta.fill_(beta)
        single.alpha.zero_()
        _, log_det, stash = cpu.forward(single, normal_rows(1, 4, 6), "encode")
        assert (log_det == 3 * beta).all()
        factor = cpu.backward(single, stash, torch.ones(1, 4, 6), None, "encode")[..., 3:]
        assert (factor == torch.tensor(beta, dtype=torch.float64).exp().float()).all()


def test_nan_passes_through(level: str) -> None:
    coupling = to_float32(make_coupling(1, 6, 5, 1))
    x = normal_rows(1, 4, 6)
    x[0, 2, 0] = torch.nan
    out, log_det, _ = cpu.forward(coupling, x, "decode")
    assert out[0, 2, 3:].isnan().all() and log_det[0, 2].isnan()
    assert out[0, [0, 1, 3]].isfinite().all()


def test_same_bits_for_any_thread_count_and_batch(level: str) -> None:
    coupling = to_float32(make_coupling(3, 123, 70, 3))
    x, grad_log_det = normal_rows(3, 100, 123), normal_rows(3, 100)

    def run(x: Tensor, grad_log_det: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        out, log_det, stash = cpu.forward(coupling, x, "decode")
        return out, log_det, cpu.backward(coupling, stash, x, grad_log_det, "decode")

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
    coupling = to_float32(make_coupling(2, 43, 20, 2))
    x, grad_out = normal_rows(2, 9, 43), normal_rows(2, 9, 43, seed=1)
    copies = x.clone(), grad_out.clone()
    _, _, stash = cpu.forward(coupling, x, "encode")
    cpu.backward(coupling, stash, grad_out, None, "encode")
    assert torch.equal(x, copies[0]) and torch.equal(grad_out, copies[1])


# ---- the public function -------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_gradient_is_that_of_autograd(direction: str, backend: str) -> None:
    coupling = make_coupling(2, 13, 8, 2)
    x = normal_rows(2, 5, 13)
    weights = normal_rows(2, 5, seed=1)

    exact_x = x.double().requires_grad_()
    out, log_det, _ = reference.forward(coupling, exact_x, direction)
    (out.square().sum() + (log_det * weights).sum()).backward()

    x.requires_grad_()
    out, log_det = coupling_step(to_float32(coupling), x, direction=direction, backend=backend)
    (out.square().sum() + (log_det * weights).sum()).backward()
    assert_close("gradient", x.grad, exact_x.grad, RATIO[torch.float32]["gradient"])


@pytest.mark.parametrize("output", [0, 1])
def test_gradient_of_one_output_alone(output: int) -> None:
    coupling = make_coupling(2, 13, 8, 2)
    x = normal_rows(2, 5, 13).double().requires_grad_()
    (expected,) = torch.autograd.grad(reference.forward(coupling, x, "decode")[output].sum(), x)
    single = x.detach().float().requires_grad_()
    result = coupling_step(to_float32(coupling), single, direction="decode")[output]
    (actual,) = torch.autograd.grad(result.sum(), single)
    assert_close("gradient", actual, expected, RATIO[torch.float32]["gradient"])


@pytest.mark.gradcheck
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradcheck(activation: str, direction: str) -> None:
    coupling = make_coupling(2, 7, 4, 2, activation)
    x = normal_rows(2, 3, 7).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: coupling_step(coupling, x, direction=direction), x)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_log_det_is_that_of_the_jacobian(direction: str) -> None:
    coupling = make_coupling(1, 7, 4, 2)
    x = normal_rows(1, 1, 7).double()
    _, log_det = coupling_step(coupling, x, direction=direction)
    jacobian = torch.autograd.functional.jacobian(
        lambda x: coupling_step(coupling, x, direction=direction)[0], x
    )
    expected = torch.linalg.slogdet(jacobian.reshape(7, 7)).logabsdet
    torch.testing.assert_close(log_det[0, 0], expected)


def test_double_backward_raises() -> None:
    coupling = to_float32(make_coupling(2, 13, 8, 2))
    x = normal_rows(2, 5, 13).requires_grad_()
    out, _ = coupling_step(coupling, x, direction="decode")
    (grad,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="coupling_step: double backward is not supported"):
        grad.square().sum().backward()


def test_dtype_selects_backend() -> None:
    coupling = make_coupling(2, 13, 8, 2)
    x = normal_rows(2, 5, 13)
    out, log_det = coupling_step(coupling, x.double(), direction="decode")
    assert out.dtype == log_det.dtype == torch.float64
    out, log_det = coupling_step(to_float32(coupling), x, direction="decode")
    assert out.dtype == log_det.dtype == torch.float32
    assert torch.equal(out, cpu.forward(to_float32(coupling), x, "decode")[0])


def test_forced_backend_says_why_it_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    coupling = make_coupling(2, 13, 8, 2)
    x = normal_rows(2, 5, 13).double()
    with pytest.raises(RuntimeError, match="not in float64 with float64 tensors"):
        coupling_step(coupling, x, direction="decode", backend="cpu")

    def missing() -> None:
        raise ImportError("no compiled module")

    monkeypatch.setattr(_native, "cpu", missing)
    request = Request(torch.device("cpu"), torch.float32, "float32")
    assert not cpu.can_run(request)
    with pytest.raises(RuntimeError, match="no compiled module"):
        cpu.can_run(request, raise_error=True)
    with pytest.raises(RuntimeError, match="computes on cpu, not on meta"):
        cpu.can_run(Request(torch.device("meta"), torch.float32, "float32"), raise_error=True)


def test_invalid_arguments() -> None:
    coupling = to_float32(make_coupling(2, 13, 8, 2))
    x = normal_rows(2, 5, 13)
    with pytest.raises(ValueError, match=r"x must be \(2, R, 13\), not \(2, 5, 12\)"):
        coupling_step(coupling, x[..., :12], direction="decode")
    with pytest.raises(ValueError, match=r"x must be \(2, R, 13\), not \(5, 13\)"):
        coupling_step(coupling, x[0], direction="decode")
    with pytest.raises(ValueError, match="direction must be one of"):
        coupling_step(coupling, x, direction="forward")
    with pytest.raises(ValueError, match="x is torch.float64 on cpu, but the coupling's weights"):
        coupling_step(coupling, x.double(), direction="decode")
    with pytest.raises(ValueError, match="no backend 'fpga'"):
        coupling_step(coupling, x, direction="decode", backend="fpga")
    narrow = Coupling(
        (coupling.weights[0][:, :5], *coupling.weights[1:]),
        coupling.biases,
        coupling.alpha,
        coupling.beta,
        "selu",
    )
    with pytest.raises(ValueError, match=r"biases\[0\] must be \(2, 5\), not \(2, 8\)"):
        coupling_step(narrow, x, direction="decode")


# ---- instruction-set levels ----------------------------------------------------------------------


def _run_with_level(name: str) -> subprocess.CompletedProcess[str]:
    code = "from dds_fast import _native; print(_native.cpu().level())"
    return fresh.run(code, DDS_FAST_CPU_ISA=name)


def test_environment_forces_level(level: str) -> None:
    assert _run_with_level(level).stdout.strip() == level


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
