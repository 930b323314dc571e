"""Frozen flows: the canonical, folded tensors that every backend of the flow ops reads.

A flow bank (S small flows) and a Glow (one flow) are the same object: `groups x steps x (mixing,
coupling MLP, affine)`. The mixing of a RealNVP step is a permutation, that of a Glow step a dense
matrix into which ActNorm and the LU factors are folded in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

ACTIVATIONS = ("selu", "leaky_relu")
NOT_UNIFORM = "serves flows whose steps are all of one size, activation and kind of mixing"


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
    packed: dict[str, Any] = field(default_factory=dict, repr=False, init=False)
    """What a backend packed from this coupling, by backend name."""

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {ACTIVATIONS}, not {self.activation!r}")
        # The kernels take the sizes on trust.
        for name, tensor in self.tensors():
            _check_tensor(name, tensor)
        if not self.weights or self.weights[0].ndim != 3 or len(self.biases) != len(self.weights):
            raise ValueError(
                f"a coupling needs (G, out, in) weights and as many biases, not "
                f"{[tuple(w.shape) for w in self.weights]} and {len(self.biases)}"
            )
        if self.alpha.ndim != 1 or self.alpha.shape != self.beta.shape:
            raise ValueError(
                f"alpha and beta must be (G,), not {tuple(self.alpha.shape)} and "
                f"{tuple(self.beta.shape)}"
            )
        groups, width = len(self.alpha), self.n_passing
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
        if 0 in self.widths or width not in (2 * self.n_passing, 2 * self.n_passing - 2):
            raise ValueError(
                f"layers of {[*self.widths, width]} units: none may be empty, and the last one "
                f"moves as many dims as pass ({self.n_passing}) or one fewer, by two numbers each"
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

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of each hidden layer."""
        return tuple(weight.shape[1] for weight in self.weights[:-1])

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """All parameters by name."""
        for kind, tensors in (("weights", self.weights), ("biases", self.biases)):
            for i, tensor in enumerate(tensors):
                yield f"{kind}[{i}]", tensor
        yield "alpha", self.alpha
        yield "beta", self.beta

    def map(self, function: Callable[[Tensor], Tensor]) -> Coupling:
        """A coupling with `function` applied to every tensor."""
        return Coupling(
            tuple(function(w) for w in self.weights),
            tuple(function(b) for b in self.biases),
            function(self.alpha),
            function(self.beta),
            self.activation,
        )


def _check_tensor(name: str, tensor: Any) -> None:
    if not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
        raise ValueError(f"{name} must be a dense tensor, not {type(tensor).__name__}")


def check_permutations(name: str, order: Tensor) -> None:
    """Refuse ``(..., F)`` indices with a ValueError unless each of their rows holds 0..F-1 once.

    Example:
        >>> check_permutations("order", torch.tensor([[2, 0, 1], [0, 1, 1]]))
        Traceback (most recent call last):
        ValueError: order must hold permutations of 0..2
    """
    F = order.shape[-1]
    if order.is_meta:  # where operations are counted, there are no values
        return
    legal = order.dtype == torch.int64 and bool(((order >= 0) & (order < F)).all())
    if not legal or not bool(order.new_zeros(order.shape).scatter_(-1, order, 1).all()):
        raise ValueError(f"{name} must hold permutations of 0..{F - 1}")


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

    def __post_init__(self) -> None:
        G, F = self.coupling.n_groups, self.coupling.n_features
        if self.order is not None and self.mixing is not None:
            raise ValueError("a step has an order or a mixing, not both")
        if (self.mixing is None) != (self.shift is None):
            raise ValueError("a step's mixing and its shift go together")
        for name, shape in {"order": (G, F), "mixing": (G, F, F), "shift": (G, F)}.items():
            tensor = getattr(self, name)
            if tensor is None:
                continue
            _check_tensor(name, tensor)
            device = self.coupling.alpha.device
            if tensor.shape != shape or tensor.device != device:
                raise ValueError(
                    f"{name} must be {shape} on {device}, not {tuple(tensor.shape)} on "
                    f"{tensor.device}"
                )
        if self.order is not None:
            check_permutations("order", self.order)
            self.__dict__["order"] = self.order.resolve_neg()

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """All floating tensors by name."""
        yield from self.coupling.tensors()
        if self.mixing is not None and self.shift is not None:
            yield "mixing", self.mixing
            yield "shift", self.shift

    @cached_property
    def inverse_order(self) -> Tensor:
        """``(G, F)``: ``x[i] = u[inverse_order[i]]``."""
        assert self.order is not None
        return torch.argsort(self.order, dim=-1)

    @cached_property
    def unmixing(self) -> Tensor:
        """``(G, F, F)``: the inverse of `mixing`, made in float64 when first asked for."""
        assert self.mixing is not None
        inverse, failed = torch.linalg.inv_ex(self.mixing.double())
        if bool(failed.any()):
            raise ValueError("a step's mixing is singular: there is no way back through it")
        return inverse.to(self.mixing.dtype)

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
    packed: dict[Any, Any] = field(default_factory=dict, repr=False, init=False)
    """What a backend packed from this flow, by backend, direction and precision."""

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError("a flow needs at least one step")
        _check_tensor("log_det", self.log_det)
        for i, step in enumerate(self.steps):
            sizes = step.coupling.n_groups, step.coupling.n_features
            if sizes != (self.n_groups, self.n_features):
                raise ValueError(
                    f"all steps must have G={self.n_groups} and F={self.n_features}; steps[{i}] "
                    f"has G={sizes[0]} and F={sizes[1]}"
                )
            for name, tensor in step.tensors():
                self._check(f"steps[{i}]: {name}", tensor)
        if self.log_det.dtype != torch.float64 or self.log_det.device != self.device:
            raise ValueError(
                f"log_det must be float64 on {self.device}, not {self.log_det.dtype} on "
                f"{self.log_det.device}"
            )
        if self.log_det.shape != (self.n_groups,):
            raise ValueError(f"log_det must be ({self.n_groups},), not {tuple(self.log_det.shape)}")
        self.__dict__["log_det"] = self.log_det.detach().resolve_neg()
        tensors = [tensor for step in self.steps for _, tensor in step.tensors()]
        if any(tensor.is_neg() or tensor.requires_grad for tensor in tensors):
            steps = tuple(step.map(lambda t: t.detach().resolve_neg()) for step in self.steps)
            self.__dict__["steps"] = steps

    def _check(self, name: str, tensor: Tensor) -> None:
        kind = tensor.dtype, tensor.device
        if kind != (self.dtype, self.device) or not tensor.is_floating_point():
            raise ValueError(
                f"{name} is {tensor.dtype} on {tensor.device}; all of a flow must be of one "
                f"floating dtype on one device, as alpha: {self.dtype} on {self.device}"
            )

    @cached_property
    def uniform(self) -> bool:
        """Whether all steps have the same layers, activation and kind of mixing."""
        kinds = {
            (s.coupling.widths, s.coupling.activation, s.order is None, s.mixing is None)
            for s in self.steps
        }
        return len(kinds) == 1

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
