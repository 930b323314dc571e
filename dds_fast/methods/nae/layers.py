"""The layers ``Y_i = g(W_i Y_{i-1})``, their gradients, and the cost that they are trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

EPSILON = torch.finfo(torch.float32).eps
"""Added to what a logarithm or a quotient takes; spectrograms have mean 1 here."""


def _softplus(P: Tensor) -> Tensor:
    return functional.softplus(P)


def _above_zero(P: Tensor) -> Tensor:
    return (P > 0).to(P.dtype)


ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "softplus": (_softplus, torch.sigmoid),
    "relu": (torch.relu, _above_zero),
    "abs": (torch.abs, torch.sign),
}
"""g and its derivative, by name."""


@dataclass(frozen=True)
class Pass:
    """A way through some layers: what went into each one, before and after ``W``, and the end."""

    inputs: list[Tensor]
    products: list[Tensor]
    output: Tensor


def forward(weights: Sequence[Tensor], Y: Tensor, activation: str) -> Pass:
    """``Y`` through the layers, first to last."""
    g, _ = ACTIVATIONS[activation]
    inputs, products = [], []
    for W in weights:
        inputs.append(Y)
        products.append(W @ Y)
        Y = g(products[-1])
    return Pass(inputs, products, Y)


def backward(
    weights: Sequence[Tensor], done: Pass, gradient: Tensor, activation: str, *, frozen: bool
) -> tuple[list[Tensor], Tensor]:
    """The gradient of a cost to the weights and to the input of the layers.

    With ``G = gradient ⊙ g'(W Y)``, a layer's weights have ``G Y^T`` and its input ``W^T G``
    (spec. 10, Eq. 6).

    Args:
        weights: as in `forward`.
        done: what `forward` returned.
        gradient: of the cost to ``done.output``.
        activation: name of g.
        frozen: leave out the weights; the list is then empty.
    """
    _, derivative = ACTIVATIONS[activation]
    to_weights = []
    for W, Y, P in zip(reversed(weights), done.inputs[::-1], done.products[::-1], strict=True):
        gradient = gradient * derivative(P)
        if not frozen:
            to_weights.append(gradient @ Y.T)
        gradient = W.T @ gradient
    return to_weights[::-1], gradient


def divergence(X: Tensor, X_hat: Tensor) -> Tensor:
    """Generalised Kullback-Leibler divergence ``Σ X log(X / X_hat) - X + X_hat`` (Eq. 4)."""
    X_hat = X_hat + EPSILON
    return (torch.special.xlogy(X, X / X_hat) - X + X_hat).sum()


def divergence_gradient(X: Tensor, X_hat: Tensor) -> Tensor:
    """The gradient of `divergence` to `X_hat`."""
    return 1 - X / (X_hat + EPSILON)
