"""Non-negative least squares by candidates, against SciPy's active sets and its own conditions."""

from __future__ import annotations

import math

import pytest
import scipy.optimize
import torch
from tolerances import assert_close
from torch import Tensor

from dds_fast.nmf.least_squares import cpu, least_squares, reference

SHAPES = [(6, 1, 1), (6, 3, 7), (42, 17, 7), (42, 150, 5), (123, 300, 3), (123, 17, 40)]
"""F, J, T"""

PASSES = 200


def make(F: int, J: int, T: int, random_state: int = 0) -> tuple[Tensor, Tensor]:
    """A sparse mixture of peaked entries, and noise; float64."""
    generator = torch.Generator().manual_seed(random_state)
    W = torch.rand(F, J, generator=generator).double() ** 4
    H = torch.rand(J, T, generator=generator).double()
    H *= torch.rand(J, T, generator=generator) < min(1.0, 5 / J)
    return W @ H + 0.1 * torch.rand(F, T, generator=generator), W


def least_costs(X: Tensor, W: Tensor) -> Tensor:
    return torch.tensor([scipy.optimize.nnls(W.numpy(), x.numpy())[1] for x in X.T])


def assert_least(X: Tensor, W: Tensor, H: Tensor, ratio: float) -> None:
    """Every frame of H is within `ratio` of its least possible error."""
    assert float(H.min()) >= 0
    costs = torch.linalg.vector_norm(X - W @ H.double(), dim=0)
    scale = torch.linalg.vector_norm(X, dim=0)
    assert float(((costs - least_costs(X, W)) / scale).max()) < ratio


@pytest.mark.parametrize("shape", SHAPES)
def test_reference_reaches_the_minimum(shape: tuple[int, int, int]) -> None:
    X, W = make(*shape)
    H, costs = least_squares(X, W, max_passes=PASSES, tolerance=0.0, backend="reference")
    assert_least(X, W, H, 1e-4)
    assert costs[0] == pytest.approx(float(X.norm()))
    assert costs[-1] == pytest.approx(float((X - W @ H).norm()), abs=1e-9)
    assert all(b <= a for a, b in zip(costs, costs[1:], strict=False))


@pytest.mark.parametrize("shape", SHAPES)
def test_kernel_reaches_the_minimum(shape: tuple[int, int, int], level: str) -> None:
    X, W = make(*shape)
    H, costs = least_squares(X.float(), W.float(), max_passes=PASSES, tolerance=1e-7, backend="cpu")
    assert_least(X, W, H, 1e-4)
    assert costs[-1] == pytest.approx(float((X - W @ H.double()).norm()), rel=1e-5, abs=1e-5)
    assert all(
        after <= before * (1 + 1e-6) for before, after in zip(costs, costs[1:], strict=False)
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_one_pass_is_that_of_the_reference(
    shape: tuple[int, int, int], level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where all entries are candidates at once, the kernel is ahead of the reference.
    monkeypatch.setattr(cpu, "GRAM_ENTRIES", reference.MOST_NEW)
    X, W = make(*shape)
    exact, search = reference.Search(X, W), cpu.Search(X.float(), W.float())
    assert search.cost == pytest.approx(exact.cost, rel=1e-6)
    exact.advance()
    search.advance()
    assert search.cost == pytest.approx(exact.cost, rel=1e-4, abs=1e-4)
    # The last of the candidates may differ by rounding, and the number of sweeps by one.
    assert_close("approximation", W @ search.activations().double(), W @ exact.activations(), 1e-2)


@pytest.mark.parametrize("gram_entries", [0, 10**6], ids=["own Gram", "whole Gram"])
def test_room_for_more_candidates_than_at_first(
    gram_entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise takes more and more of the entries, frames come in chunks."""
    monkeypatch.setattr(cpu, "GRAM_ENTRIES", gram_entries)
    monkeypatch.setattr(cpu, "FIRST_CAPACITY", 40)
    monkeypatch.setattr(cpu, "CORRELATION_BYTES", 4 * 300 * 2)
    generator = torch.Generator().manual_seed(0)
    X, W = torch.rand(200, 7, generator=generator), torch.rand(200, 300, generator=generator) ** 3
    H, costs = least_squares(X, W, max_passes=PASSES, tolerance=1e-7)
    assert int((H > 0).sum(0).max()) > 40
    assert_least(X.double(), W.double(), H, 1e-4)
    assert costs[-1] == pytest.approx(float((X - W @ H).double().norm()), rel=1e-5)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_entries_of_zeros_and_silent_frames(backend: str) -> None:
    X, W = (tensor.float() for tensor in make(42, 17, 7))
    X[:, 3] = 0
    W[:, 5] = 0
    H, costs = least_squares(X, W, backend=backend)
    assert math.isfinite(costs[-1]) and not H[:, 3].any() and not H[5].any()
    H, costs = least_squares(torch.zeros_like(X), W, backend=backend)
    assert not H.any() and costs[-1] == 0


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("shape", [(6, 0, 4), (6, 3, 0)])
def test_nothing_to_solve(shape: tuple[int, int, int], backend: str) -> None:
    F, J, T = shape
    X, W = torch.rand(F, T), torch.rand(F, J)
    H, costs = least_squares(X, W, backend=backend)
    assert H.shape == (J, T) and costs[-1] == pytest.approx(float(X.norm()))


def test_strides_do_not_matter() -> None:
    X, W = (tensor.float() for tensor in make(42, 150, 5))
    expected, _ = least_squares(X, W)
    wide_X, wide_W = torch.full((42, 10), -1.0), W.T.contiguous().T
    wide_X[:, ::2] = X
    before = wide_W.clone()
    actual, _ = least_squares(wide_X[:, ::2], wide_W)
    assert torch.equal(actual, expected) and torch.equal(wide_W, before)


def test_same_bits_again() -> None:
    X, W = (tensor.float() for tensor in make(123, 300, 40))
    first, costs = least_squares(X, W)
    again, costs_again = least_squares(X, W)
    assert torch.equal(first, again) and costs == costs_again


def test_float64_takes_the_reference() -> None:
    H, _ = least_squares(*make(6, 3, 7))
    assert H.dtype == torch.float64
    with pytest.raises(RuntimeError, match="computes in float32, not float64"):
        least_squares(*make(6, 3, 7), backend="cpu")


def test_bad_operands_are_refused() -> None:
    X, W = torch.rand(6, 4), torch.rand(6, 3)
    with pytest.raises(ValueError, match=r"least_squares: shapes do not fit .*W \(5, 3\)"):
        least_squares(X, W[:5])
    with pytest.raises(ValueError, match="of one floating dtype"):
        least_squares(X, W.double())
    for bad, message in ((math.nan, "X holds 1 NaN or infinite"), (-1.0, "X holds 1 negative")):
        broken = X.clone()
        broken[2, 1] = bad
        with pytest.raises(ValueError, match=rf"{message}.*\(2, 1\)"):
            least_squares(broken, W)
