"""A plain PyTorch flow: one ``nn.Module`` per source, called in a Python loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from kernels.peers import Decode, Flow
from torch import Tensor, nn

from dds_fast.flows import RealNVPBank
from dds_fast.flows.coupling import CouplingStep
from dds_fast.flows.glow import GlowStep

ACTIVATIONS: dict[str, type[nn.Module]] = {"selu": nn.SELU, "leaky_relu": nn.LeakyReLU}


def network(step: CouplingStep, group: int) -> nn.Sequential:
    """The coupling network of one flow as PyTorch layers on the same memory."""
    layers: list[nn.Module] = []
    for weight, bias in zip(step.weights, step.biases, strict=True):
        linear = nn.utils.skip_init(nn.Linear, weight.shape[2], weight.shape[1])
        linear.weight = nn.Parameter(weight.detach()[group], requires_grad=False)
        linear.bias = nn.Parameter(bias.detach()[group], requires_grad=False)
        layers += [linear, ACTIVATIONS[step.activation]()]
    return nn.Sequential(*layers[:-1])


def over_flows(decoders: Sequence[Decode]) -> Decode:
    """Decode with each flow in turn and stack what they return."""

    def decode(z: Tensor) -> tuple[Tensor, Tensor]:
        outputs = [decode_one(rows) for decode_one, rows in zip(decoders, z, strict=True)]
        x, log_det = zip(*outputs, strict=True)
        return torch.stack(x), torch.stack(log_det)

    return decode


def chains(
    flow: Flow,
    of_bank: Callable[[CouplingStep, Tensor, int], Iterable[Any]],
    of_glow: Callable[[GlowStep], Iterable[Any]],
) -> list[list[Any]]:
    """The layers of every flow in the order of encoding, as a library makes them of a step."""
    if isinstance(flow, RealNVPBank):
        steps = list(zip(flow.couplings, flow.orders, strict=True))
        return [
            [layer for step, order in steps for layer in of_bank(step, order[group], group)]
            for group in range(flow.n_sources)
        ]
    return [[layer for step in flow.steps for layer in of_glow(step)]]


class Coupling(nn.Module):
    """Affine coupling with a tanh-bounded log-scale, in the decode direction."""

    alpha: Tensor
    beta: Tensor

    def __init__(self, step: CouplingStep, group: int) -> None:
        super().__init__()
        self.network = network(step, group)
        self.register_buffer("alpha", step.alpha.detach()[group])
        self.register_buffer("beta", step.beta.detach()[group])

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        passing, moved = y.chunk(2, dim=-1)
        raw, translation = self.network(passing).chunk(2, dim=-1)
        log_scale = self.alpha * torch.tanh(raw) + self.beta
        moved = (moved - translation) * torch.exp(-log_scale)
        return torch.cat([passing, moved], dim=-1), -log_scale.sum(-1)


class Permutation(nn.Module):
    """A fixed permutation by indexing: cheaper than the product with a permutation matrix."""

    inverse: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("inverse", torch.argsort(order))

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return u[:, self.inverse], u.new_zeros(len(u))


class Mixing(nn.Module):
    """ActNorm and LU mixing, undone by two triangular solves."""

    factors: Tensor
    inverse_order: Tensor
    bias: Tensor
    log_scale: Tensor

    def __init__(self, step: GlowStep) -> None:
        super().__init__()
        factors = step.mixing.factors.detach()
        self.register_buffer("factors", factors)
        self.register_buffer("inverse_order", torch.argsort(step.mixing.order))
        self.register_buffer("bias", step.actnorm.bias.detach())
        self.register_buffer("log_scale", step.actnorm.log_scale.detach())

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        x = u[:, self.inverse_order].T
        x = torch.linalg.solve_triangular(self.factors, x, upper=False, unitriangular=True)
        x = torch.linalg.solve_triangular(self.factors, x, upper=True).T
        x = x * torch.exp(-self.log_scale) - self.bias
        log_det = -self.log_scale.sum() - self.factors.diagonal().abs().log().sum()
        return x, log_det.expand(len(u))


class Chain(nn.Module):
    """Layers in decode order, log-determinants added."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        total = z.new_zeros(len(z))
        for layer in self.layers:
            z, log_det = layer(z)
            total = total + log_det
        return z, total


def decoder(flow: Flow) -> Decode:
    """Every flow of `flow` as a module of its own."""
    layers = chains(
        flow,
        lambda step, order, group: (Permutation(order), Coupling(step, group)),
        lambda step: (Mixing(step), Coupling(step.coupling, 0)),
    )
    return over_flows([Chain(of_flow[::-1]) for of_flow in layers])
