"""Frozen flows: the canonical, folded tensors that every backend of the flow ops reads.

A flow bank (S small flows) and a Glow (one flow) are the same object: `groups x steps x (mixing,
coupling MLP, affine)`. The mixing of a RealNVP step is a permutation, that of a Glow step a dense
matrix into which ActNorm and the LU factors are folded in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

ACTIVATIONS = ("selu", "leaky_relu")


@dataclass(frozen=True, eq=False)
class Coupling:
    """Parameters of one tanh-bounded affine coupling step, stacked over groups.

    The first ``n_passing = ceil(F / 2)`` dims pass through and condition the other ``F // 2``.

    Attributes:
        weights: one ``(G, out, in)`` tensor per linear layer.
        biases: one ``(G, out)`` tensor per linear layer.
        alpha: ``(G,)`` scale of the bounded log-scale.
        beta: ``(G,)`` offset of the bounded log-scale.
        activation: ``"selu"`` or ``"leaky_relu"`` (slope 0.01) after each hidden layer.

    Example:
        >>> weights, biases = (torch.zeros(1, 4, 3),), (torch.zeros(1, 4),)  # s and t of 2 dims
        >>> coupling = Coupling(weights, biases, torch.ones(1), torch.zeros(1), "selu")
        >>> coupling.n_groups, coupling.n_passing, coupling.n_features
        (1, 3, 5)
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    alpha: Tensor
    beta: Tensor
    activation: str
    packed: dict[str, Any] = field(default_factory=dict, repr=False)
    """What a backend packed from this coupling, by backend name."""

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {ACTIVATIONS}, not {self.activation!r}")
        groups, width = len(self.alpha), self.n_passing  # the kernels take the sizes on trust
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if weight.ndim != 3 or (weight.shape[0], weight.shape[2]) != (groups, width):
                raise ValueError(
                    f"weights[{i}] must be ({groups}, out, {width}), not {tuple(weight.shape)}"
                )
            width = weight.shape[1]
            if bias.shape != (groups, width):
                raise ValueError(
                    f"biases[{i}] must be ({groups}, {width}), not {tuple(bias.shape)}"
                )

    @property
    def n_groups(self) -> int:
        return self.weights[0].shape[0]

    @property
    def n_passing(self) -> int:
        return self.weights[0].shape[2]

    @property
    def n_features(self) -> int:
        return self.n_passing + self.weights[-1].shape[1] // 2

    def map(self, function: Callable[[Tensor], Tensor]) -> Coupling:
        """A coupling with `function` applied to every tensor."""
        return Coupling(
            tuple(function(w) for w in self.weights),
            tuple(function(b) for b in self.biases),
            function(self.alpha),
            function(self.beta),
            self.activation,
        )


@dataclass(frozen=True, eq=False)
class FrozenStep:
    """One flow step: ``u = mix(x)`` and the coupling in the encode direction, reversed in decode.

    At most one of `order` and `mixing` is given; with neither, ``u = x``:

    - `order` ``(G, F)``, int64: ``u[i] = x[order[i]]`` (RealNVP);
    - `mixing` ``(G, F, F)`` and `shift` ``(G, F)``: ``x = mixing @ u - shift`` (Glow; ActNorm and
      the inverse of the LU mixing folded into one matrix).

    Example:
        >>> from dds_fast.flows import RealNVPBank
        >>> step = RealNVPBank(3, 8, n_steps=2, width=4, depth=1).freeze().steps[0]
        >>> step.order.shape, step.mixing
        (torch.Size([3, 8]), None)
    """

    coupling: Coupling
    order: Tensor | None = None
    mixing: Tensor | None = None
    shift: Tensor | None = None

    @cached_property
    def inverse_order(self) -> Tensor:
        """``(G, F)``: ``x[i] = u[inverse_order[i]]``."""
        assert self.order is not None
        return torch.argsort(self.order, dim=-1)

    @cached_property
    def unmixing(self) -> Tensor:
        """``(G, F, F)``: the inverse of `mixing`, made in float64 when first asked for."""
        assert self.mixing is not None
        return torch.linalg.inv(self.mixing.double()).to(self.mixing.dtype)

    def affine(self, direction: str) -> tuple[Tensor, Tensor]:
        """``(G, F, F)`` matrix and ``(G, F)`` bias of the dense mixing in a direction."""
        assert self.mixing is not None and self.shift is not None
        if direction == "decode":
            return self.mixing.contiguous(), -self.shift
        matrix = self.unmixing.contiguous()
        return matrix, torch.bmm(matrix, self.shift[..., None])[..., 0]

    def map(self, function: Callable[[Tensor], Tensor]) -> FrozenStep:
        """A step with `function` applied to every floating tensor."""
        return FrozenStep(
            self.coupling.map(function),
            None if self.order is None else self.order.to(function(self.coupling.alpha).device),
            None if self.mixing is None else function(self.mixing),
            None if self.shift is None else function(self.shift),
        )


@dataclass(frozen=True, eq=False)
class FrozenFlow:
    """A flow (bank) whose weights no longer change, ready for decoding.

    Attributes:
        steps: the flow steps in encode order.
        log_det: ``(G,)`` float64, the constant part of decode's log-determinant (ActNorm and LU).
        condition: largest 1-norm condition number of the mixing matrices (1 for permutations).

    Example:
        >>> from dds_fast.flows import RealNVPBank
        >>> flow = RealNVPBank(3, 8, n_steps=2, width=4, depth=1).freeze()
        >>> flow.n_groups, flow.n_features, flow.dtype
        (3, 8, torch.float32)
        >>> flow.select(torch.tensor([2])).to(torch.float64).n_groups
        1
    """

    steps: tuple[FrozenStep, ...]
    log_det: Tensor
    condition: float = 1.0
    packed: dict[Any, Any] = field(default_factory=dict, repr=False)
    """What a backend packed from this flow, by backend, direction and precision."""

    @property
    def n_groups(self) -> int:
        return self.steps[0].coupling.n_groups

    @property
    def n_features(self) -> int:
        return self.steps[0].coupling.n_features

    @property
    def dtype(self) -> torch.dtype:
        return self.steps[0].coupling.alpha.dtype

    @property
    def device(self) -> torch.device:
        return self.steps[0].coupling.alpha.device

    def to(self, dtype: torch.dtype, device: torch.device | str | None = None) -> FrozenFlow:
        """The same flow in another dtype or on another device."""
        if dtype == self.dtype and (device is None or torch.device(device) == self.device):
            return self
        return FrozenFlow(
            tuple(s.map(lambda t: t.to(device=device, dtype=dtype)) for s in self.steps),
            self.log_det.to(device=device),
            self.condition,
        )

    def select(self, groups: Tensor) -> FrozenFlow:
        """The flows of the given group indices, as a bank of their own."""
        return FrozenFlow(
            tuple(
                FrozenStep(
                    s.coupling.map(lambda t: t[groups]),
                    None if s.order is None else s.order[groups],
                    None if s.mixing is None else s.mixing[groups],
                    None if s.shift is None else s.shift[groups],
                )
                for s in self.steps
            ),
            self.log_det[groups],
            self.condition,
        )
