"""The layers ``Y_i = g(W_i Y_{i-1})``, and the divergence that they are trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

EPSILON = torch.finfo(torch.float32).eps
"""Added to what a logarithm takes; spectrograms have mean 1 here."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "softplus": functional.softplus,
    "relu": torch.relu,
    "abs": torch.abs,
}
"""g by name."""


def through(weights: Sequence[Tensor], Y: Tensor, activation: str) -> Tensor:
    """``Y`` through the layers, first to last."""
    for W in weights:
        Y = ACTIVATIONS[activation](W @ Y)
    return Y


def divergence(X: Tensor, X_hat: Tensor) -> Tensor:
    """Generalised Kullback-Leibler divergence ``Σ X log(X / X_hat) - X + X_hat`` (Eq. 4)."""
    X_hat = X_hat + EPSILON
    return functional.kl_div(X_hat.log(), X, reduction="sum") + (X_hat - X).sum()
