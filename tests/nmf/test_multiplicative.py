"""Multiplicative updates: the compiled ones against the float64 reference, and their properties."""

from __future__ import annotations

import pytest
import torch
from tolerances import RATIO, assert_close
from torch import Tensor

from dds_fast.nmf.multiplicative import (
    BACKENDS,
    FACTORS,
    LOSSES,
    choose,
    divergence,
    triton,
)
from dds_fast.nmf.multiplicative.reference import EPSILON
from dds_fast.ops import multiplicative_update

SHAPES = [(6, 1, 1), (6, 3, 7), (42, 17, 7), (123, 300, 3), (42, 3, 1), (123, 3, 200)]
"""F, J, T"""

SINGLE, DOUBLE = (RATIO[dtype]["output"] for dtype in (torch.float32, torch.float64))


def make(F: int, J: int, T: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = (F, T), (F, J), (J, T)
    X, W, H = (torch.rand(*shape, generator=generator).double() for shape in shapes)
    return X, W, H


def textbook(X: Tensor, W: Tensor, H: Tensor, factor: str, loss: str) -> Tensor:
    """As in the paper, with the epsilon in every denominator."""
    if loss == "euclidean":
        if factor == "H":
            return H * (W.T @ X) / (W.T @ W @ H + EPSILON)
        return W * (X @ H.T) / (W @ H @ H.T + EPSILON)
    approximation = W @ H + EPSILON
    if loss == "is":
        quotient, inverse = (X + EPSILON) / approximation**2, 1 / approximation
        if factor == "H":
            return H * ((W.T @ quotient) / (W.T @ inverse + EPSILON)) ** 0.5
        return W * ((quotient @ H.T) / (inverse @ H.T + EPSILON)) ** 0.5
    ratio = X / approximation
    if factor == "H":
        return H * (W.T @ ratio) / (W.T @ torch.ones_like(X) + EPSILON)
    return W * (ratio @ H.T) / (torch.ones_like(X) @ H.T + EPSILON)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("shape", SHAPES)
def test_update_is_that_of_the_paper(
    shape: tuple[int, int, int], factor: str, loss: str, level: str
) -> None:
    operands = make(*shape)
    expected = textbook(*operands, factor, loss)
    exact = multiplicative_update(*operands, factor=factor, loss=loss)
    assert exact.dtype == torch.float64
    assert_close("reference", exact, expected, DOUBLE)
    single = [operand.float() for operand in operands]
    copies = [operand.clone() for operand in single]
    actual = multiplicative_update(*single, factor=factor, loss=loss)
    assert_close("kernel", actual, exact, SINGLE)
    assert all(torch.equal(*pair) for pair in zip(single, copies, strict=True))


@pytest.mark.parametrize("loss", triton.LOSSES)
@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("shape", SHAPES[:4])
def test_triton_update(
    triton_device: torch.device, shape: tuple[int, int, int], factor: str, loss: str
) -> None:
    operands = make(*shape)
    exact = multiplicative_update(*operands, factor=factor, loss=loss)
    single = [operand.float().to(triton_device) for operand in operands]
    actual = multiplicative_update(*single, factor=factor, loss=loss, backend="triton")
    assert_close("kernel", actual.cpu(), exact, SINGLE)


@pytest.mark.usefixtures("native_code")
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("n_updates", [1, 1000])
def test_what_is_made_once_changes_nothing(n_updates: int, loss: str) -> None:
    """Gram matrix or not: F = 42, T = 7 take it for 30 entries only if it serves many updates."""
    X, W, H = make(42, 30, 7)
    exact = choose(X, loss)(X, W, n_updates=n_updates)
    update = choose(X.float(), loss)(X.float(), W.float(), n_updates=n_updates)
    if loss == "euclidean":
        assert (update.gram is not None) == (n_updates > 1)
    single = H.float()
    for _ in range(3):
        H, single = exact(H), update(single)
    assert_close("activations", single, H, 5 * SINGLE)


@pytest.mark.parametrize(
    ("loss", "backend"),
    [(loss, name) for name, module in BACKENDS.items() for loss in module.LOSSES],
)
def test_loss_falls_and_zeros_stay(loss: str, backend: str) -> None:
    X, W, H = (operand.float() for operand in make(42, 17, 30))
    X[:, 3] = 0
    W[5:9, 2] = 0
    H[4, 7:] = 0
    silent_W, silent_H = W == 0, H == 0
    losses = [divergence(X, W, H, loss)]
    for _ in range(30):
        H = multiplicative_update(X, W, H, loss=loss, backend=backend)
        losses.append(divergence(X, W, H, loss))
        W = multiplicative_update(X, W, H, factor="W", loss=loss, backend=backend)
        losses.append(divergence(X, W, H, loss))
    assert all(b <= a * (1 + 1e-6) for a, b in zip(losses, losses[1:], strict=False))
    assert losses[-1] < 0.9 * losses[0]
    assert not W[silent_W].any() and not H[silent_H].any()
    assert W.isfinite().all() and H.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("factor", FACTORS)
def test_strided_operands(factor: str, loss: str) -> None:
    operands = [operand.float() for operand in make(42, 17, 7)]
    expected = multiplicative_update(*operands, factor=factor, loss=loss)
    transposed = [operand.T.contiguous().T for operand in operands]
    every_other = [torch.stack([operand, -operand], 2)[..., 0] for operand in operands]
    for strided in (transposed, every_other):
        actual = multiplicative_update(*strided, factor=factor, loss=loss)
        assert_close("factor", actual, expected.double(), SINGLE)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("shape", [(6, 0, 4), (6, 3, 0)])
def test_empty(shape: tuple[int, int, int], factor: str, loss: str) -> None:
    operands = [operand.float() for operand in make(*shape)]
    result = multiplicative_update(*operands, factor=factor, loss=loss)
    assert result.shape == operands[FACTORS.index(factor) + 1].shape


def test_same_bits_again() -> None:
    operands = [operand.float() for operand in make(123, 300, 70)]
    for loss in LOSSES:
        first, again = (multiplicative_update(*operands, loss=loss) for _ in range(2))
        assert torch.equal(first, again)


def test_divergence_of_kl() -> None:
    X, W, H = make(6, 3, 7)
    X[2, 3] = 0
    approximation = W @ H
    terms = torch.where(X > 0, X * (X / approximation).log(), 0) - X + approximation
    expected = float(terms.sum())
    assert divergence(X, W, H, "kl") == pytest.approx(expected, rel=1e-5)
    single = divergence(X.float(), W.float(), H.float(), "kl")
    assert single == pytest.approx(expected, rel=1e-5)


def test_divergence_of_itakura_and_saito() -> None:
    X, W, H = make(6, 3, 7)
    ratio = (X + EPSILON) / (W @ H + EPSILON)
    assert divergence(X, W, H, "is") == pytest.approx(float((ratio - ratio.log() - 1).sum()))


@pytest.mark.parametrize("backend", BACKENDS)
def test_penalty_joins_the_denominator(backend: str) -> None:
    X, W, H = (operand.float() for operand in make(42, 17, 7))
    penalty = torch.rand(17, 1)
    for loss in BACKENDS[backend].LOSSES:
        update = choose(X, loss, backend)(X, W)
        # The update is H N / D for losses with a linear denominator, and its root for "is".
        power = 2 if loss == "is" else 1
        plain, penalised = (H / update(H)) ** power, (H / update(H, penalty)) ** power
        numerator = (
            W.T
            @ {
                "euclidean": X,
                "kl": X / (W @ H + EPSILON),
                "is": (X + EPSILON) / (W @ H + EPSILON) ** 2,
            }[loss]
        )
        assert_close("difference", (penalised - plain) * numerator, penalty.expand(17, 7), 1e-4)


def test_compiled_updates_lack_a_loss() -> None:
    operands = [operand.float() for operand in make(6, 3, 7)]
    with pytest.raises(ValueError, match="'is'.* has no backend 'cpu'; it has reference"):
        multiplicative_update(*operands, loss="is", backend="cpu")


def test_bad_arguments_are_refused() -> None:
    X, W, H = make(6, 3, 7)
    with pytest.raises(ValueError, match="factor must be 'W' or 'H', not 'X'"):
        multiplicative_update(X, W, H, factor="X")
    with pytest.raises(ValueError, match="loss must be one of"):
        multiplicative_update(X, W, H, loss="itakura")
    with pytest.raises(ValueError, match=r"shapes do not fit .*H \(3, 6\)"):
        multiplicative_update(X, W, H[:, :6])
    with pytest.raises(ValueError, match="H holds 21 negative, first at"):
        multiplicative_update(X, W, -H)
