"""All flows at once in PyTorch: weights stacked over flows, one ``baddbmm`` per layer.

Everything that can be had in PyTorch without a kernel of one's own: permutations by gather, ActNorm
and the inverse of the mixing folded into one matrix beforehand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as functional
from kernels.peers import Decode
from torch import Tensor

from dds_fast.ops import Coupling, FrozenFlow, FrozenStep

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "selu": functional.selu,
    "leaky_relu": functional.leaky_relu,
}


def _couple(coupling: Coupling, y: Tensor) -> tuple[Tensor, Tensor]:
    passing, moved = y.tensor_split(2, dim=-1)
    h = passing.to(coupling.weights[0].dtype)
    last = len(coupling.weights) - 1
    for i, (weight, bias) in enumerate(zip(coupling.weights, coupling.biases, strict=True)):
        h = torch.baddbmm(bias[:, None], h, weight.transpose(1, 2))
        if i < last:
            h = ACTIVATIONS[coupling.activation](h)
    raw, translation = h.to(y.dtype).chunk(2, dim=-1)
    log_scale = coupling.alpha[:, None, None] * torch.tanh(raw) + coupling.beta[:, None, None]
    moved = (moved - translation) * torch.exp(-log_scale)
    return torch.cat([passing, moved], dim=-1), -log_scale.sum(-1)


def _unmix(step: FrozenStep, inverse_order: Tensor | None, u: Tensor) -> Tensor:
    if inverse_order is not None:
        return u.gather(-1, inverse_order[:, None].expand_as(u))
    assert step.mixing is not None and step.shift is not None
    return torch.baddbmm(-step.shift[:, None], u, step.mixing.transpose(1, 2))


def _with_layers_in(step: FrozenStep, dtype: torch.dtype) -> FrozenStep:
    coupling = step.coupling
    weights, biases = (tuple(t.to(dtype) for t in ts) for ts in (coupling.weights, coupling.biases))
    alpha, beta, activation = coupling.alpha, coupling.beta, coupling.activation
    return replace(step, coupling=Coupling(weights, biases, alpha, beta, activation))


def decoder(flow: FrozenFlow, dtype: torch.dtype | None = None) -> Decode:
    """All flows of a bank in one batch; `dtype` is that of the couplings' layers, if another."""
    # Sorted here, not in a property of the steps, so that torch.compile sees plain tensors.
    steps = [
        (_with_layers_in(s, dtype or flow.dtype), None if s.order is None else s.inverse_order)
        for s in reversed(flow.steps)
    ]
    constant = flow.log_det.to(flow.dtype)[:, None]

    def decode(z: Tensor) -> tuple[Tensor, Tensor]:
        total = constant
        for step, inverse_order in steps:
            u, log_det = _couple(step.coupling, z)
            z = _unmix(step, inverse_order, u)
            total = total + log_det
        return z, total

    return decode


def compiled(flow: FrozenFlow) -> Decode:
    """`decoder` through ``torch.compile``, which needs a C++ compiler when it first runs."""
    return torch.compile(decoder(flow))
