"""Trainable coupling steps, stacked over the flows of a bank."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dds_fast import scalars
from dds_fast.flows.frozen import Coupling
from dds_fast.flows.reference import coupling as reference

MOST = 1 << 20
"""Of each size: a product of three of them still counts bytes in 64 bits."""


def sizes(n_sources: int, n_features: int, n_steps: int, width: int, depth: int) -> dict[str, int]:
    """The sizes of a flow by name, if they are legal.

    Raises:
        ValueError: one that is no integer, too small or too large; names it.
    """
    return {
        "n_sources": scalars.integer("n_sources", n_sources, 1, MOST),
        "n_features": scalars.integer("n_features", n_features, 1, MOST),
        "n_steps": scalars.integer("n_steps", n_steps, 1, MOST),
        "width": scalars.integer("width", width, 1, MOST),
        "depth": scalars.integer("depth", depth, 0, MOST),
    }


class CouplingStep(nn.Module):
    """One tanh-bounded affine coupling step for each of `n_groups` flows.

    Linear layers start as PyTorch's do (uniform in ``+-1/sqrt(fan_in)``), alpha at 1, beta at 0
    (docs/method.md, Flows).
    """

    def __init__(
        self, n_groups: int, n_features: int, width: int, depth: int, activation: str
    ) -> None:
        super().__init__()
        self.activation = activation
        n_moved = n_features // 2
        sizes = [n_features - n_moved, *[width] * depth, 2 * n_moved]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for fan_in, fan_out in zip(sizes, sizes[1:], strict=False):
            bound = 1 / math.sqrt(fan_in)
            self.weights.append(torch.empty(n_groups, fan_out, fan_in).uniform_(-bound, bound))
            self.biases.append(torch.empty(n_groups, fan_out).uniform_(-bound, bound))
        self.alpha = nn.Parameter(torch.ones(n_groups))
        self.beta = nn.Parameter(torch.zeros(n_groups))

    def parameters_of_step(self) -> Coupling:
        """The parameters as the ops take them, still attached to autograd."""
        return Coupling(
            tuple(self.weights), tuple(self.biases), self.alpha, self.beta, self.activation
        )

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``(G, R, F)`` x to y, and ``(G, R)`` log-det."""
        return reference.forward(self.parameters_of_step(), x, "encode")[:2]

    def decode(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """``(G, R, F)`` y to x, and ``(G, R)`` log-det."""
        return reference.forward(self.parameters_of_step(), y, "decode")[:2]

    def freeze(self) -> Coupling:
        """A detached copy of the parameters."""
        return self.parameters_of_step().map(lambda t: t.detach().clone())
