"""Multiplicative updates of one factor of a non-negative factorisation."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import ModuleType

import torch
from torch import Tensor

from dds_fast import arrays, memory
from dds_fast.nmf import nonnegative
from dds_fast.nmf.multiplicative import cpu, reference, triton
from dds_fast.search import dispatch

BACKENDS: dict[str, ModuleType] = {"cpu": cpu, "triton": triton, "reference": reference}

LOSSES = reference.LOSSES
FACTORS = ("W", "H")


def check_loss(op: str, loss: str) -> None:
    """Refuse an unknown loss with a ValueError."""
    if loss not in LOSSES:
        raise ValueError(f"{op}: loss must be one of {LOSSES}, not {loss!r}")


@arrays.isolated()
def multiplicative_update(
    X: Tensor,
    W: Tensor,
    H: Tensor,
    *,
    factor: str = "H",
    loss: str = "euclidean",
    backend: str = "auto",
) -> Tensor:
    """One multiplicative update of a factor of ``X = W H``, the other one fixed.

    The loss never increases, up to rounding, and zeros of the factor stay zero.

    Args:
        X: ``(F, T)``, non-negative.
        W: ``(F, J)``, non-negative.
        H: ``(J, T)``, non-negative.
        factor: which one moves, "W" or "H".
        loss: "euclidean" (squared error), "kl" (generalised Kullback-Leibler divergence) or "is"
            (Itakura-Saito divergence; not in the compiled backend).
        backend: "auto", or the name of one of ``BACKENDS``.

    Returns:
        The new factor; the inputs stay as they are.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together; negative, NaN or infinite
            entries; unknown `factor`, `loss` or `backend`.
        RuntimeError: the backend cannot run on `X`, with its reason.
        MemoryError: it does not fit, with its size.

    Source: Lee and Seung, Algorithms for non-negative matrix factorization, NIPS 2000; Févotte
    and Idier, Neural Computation 2011 (Itakura-Saito).

    Example:
        >>> import torch
        >>> X, W, H = torch.rand(6, 9), torch.rand(6, 3), torch.rand(3, 9)
        >>> before = divergence(X, W, H, "euclidean")
        >>> H = multiplicative_update(X, W, H)
        >>> W = multiplicative_update(X, W, H, factor="W")
        >>> divergence(X, W, H, "euclidean") < before
        True
    """
    if factor not in FACTORS:
        raise ValueError(f"multiplicative_update: factor must be 'W' or 'H', not {factor!r}")
    X, W, H = nonnegative.check("multiplicative_update", X, W, H)
    update_of = choose(X, loss, backend)
    size = (2 * X.numel() + 2 * (W if factor == "W" else H).numel()) * X.itemsize
    lower = "fewer frames or components"
    with memory.explained(size, "multiplicative_update", lower, X.device.type):
        return update_of(X, W)(H) if factor == "H" else update_of(X.T, H.T)(W.T).T


def choose(X: Tensor, loss: str, backend: str = "auto") -> Callable[..., reference.Update]:
    """Makes updates of H for an X and a W that do not change: ``choose(...)(X, W, n_updates=)``.

    Called with H, and perhaps the gradient of a penalty, an update returns the new H. Operands are
    not checked for negative entries. See ``reference.Update``.
    """
    check_loss("multiplicative_update", loss)
    able = {name: module for name, module in BACKENDS.items() if loss in module.LOSSES}
    op = f"multiplicative_update (loss {loss!r})"
    return partial(dispatch.select(op, able, dispatch.Request.of(X), backend).Update, loss=loss)


def divergence(X: Tensor, W: Tensor, H: Tensor, loss: str) -> float:
    """The loss between X and W H, rows summed in float64.

    ``||X - W H||_F``, the generalised Kullback-Leibler or the Itakura-Saito divergence; in the
    divergences W H carries a small epsilon, and in Itakura-Saito's X too.
    """
    check_loss("divergence", loss)
    approximation = W @ H
    if loss == "euclidean":
        return math.sqrt(_total(approximation.sub_(X).square_()))
    approximation += reference.EPSILON
    if loss == "is":
        ratio = (X + reference.EPSILON) / approximation
        return _total(ratio - ratio.log() - 1)
    return _total(torch.special.xlogy(X, X / approximation).sub_(X).add_(approximation))


def _total(terms: Tensor) -> float:
    return float(terms.sum(1).double().sum())
