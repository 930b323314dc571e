"""Where a factorisation begins: random factors, or those of a singular value decomposition."""

from __future__ import annotations

import torch
from torch import Tensor

SMALL = 1e-6
"""Smaller entries of an NNDSVD are zeros."""


def random(X: Tensor, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """A uniform factor of X; the product of two has about the mean of X.

    Drawn on the CPU, so that devices agree.
    """
    J = shape[1] if shape[0] == X.shape[0] else shape[0]
    drawn = torch.rand(shape, generator=generator, dtype=torch.float64)
    return drawn.to(X) * (2 * torch.sqrt(X.mean() / J))


def nndsvd(
    X: Tensor, n_components: int, init: str, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Factors ``(F, J)`` and ``(J, T)`` of the leading singular vectors, of each its larger part.

    Of both vectors of a singular value either the positive or the negative entries are taken.
    Zeros stay zeros under multiplicative updates, so "nndsvda" has the mean of X in their place,
    "nndsvdar" small random numbers.

    Source: Boutsidis and Gallopoulos, SVD based initialization: A head start for nonnegative matrix
    factorization, Pattern Recognition 2008.

    Raises:
        ValueError: there are fewer singular values than components.
    """
    if n_components > min(X.shape):
        raise ValueError(
            f"init={init!r} has at most {min(X.shape)} components for X {tuple(X.shape)}, not "
            f"{n_components}"
        )
    U, S, V = _leading(X.double(), n_components)
    positive, negative = (
        (sign * U).clamp_min(0).norm(dim=0) * (sign * V).clamp_min(0).norm(dim=0)
        for sign in (1, -1)
    )
    sign = torch.where(positive > negative, 1.0, -1.0).to(S)
    scale = torch.sqrt(S * torch.maximum(positive, negative))
    factors = []
    for vectors in (U, V):
        part = (sign * vectors).clamp_min(0)
        size = part.norm(dim=0).clamp_min(torch.finfo(part.dtype).tiny)
        factors.append(scale / size * part)
    factors = [torch.where(factor < SMALL, 0, factor) for factor in factors]
    if init != "nndsvd":
        mean = X.double().mean()
        factors = [_filled(factor, mean, init, generator) for factor in factors]
    W, H = factors[0].to(X.dtype), factors[1].T.to(X.dtype).contiguous()
    return W, H


def _leading(X: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Left vectors ``(F, n)``, values and right vectors ``(T, n)``, the largest first.

    By the smaller Gram matrix: what it loses to rounding lies below `SMALL`.
    """
    wide = X.shape[0] <= X.shape[1]
    A = X if wide else X.T
    values, vectors = torch.linalg.eigh(A @ A.T)
    S = values.flip(0)[:n].clamp_min(0).sqrt()
    left = vectors.flip(1)[:, :n]
    right = A.T @ left / S.clamp_min(torch.finfo(S.dtype).tiny)
    return (left, S, right) if wide else (right, S, left)


def _filled(factor: Tensor, mean: Tensor, init: str, generator: torch.Generator) -> Tensor:
    if init == "nndsvda":
        return torch.where(factor == 0, mean, factor)
    drawn = torch.randn(factor.shape, generator=generator, dtype=factor.dtype)
    return torch.where(factor == 0, (mean * drawn.to(factor.device) / 100).abs(), factor)
