"""A plain PyTorch flow: one ``nn.Module`` per source, called in a Python loop."""

from __future__ import annotations

from collections.abc import Sequence

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


class Coupling(nn.Module):
    """Affine coupling with a tanh-bounded log-scale, in the decode direction."""

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

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("inverse", torch.argsort(order))

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return u[:, self.inverse], u.new_zeros(len(u))


class Mixing(nn.Module):
    """ActNorm and LU mixing, undone by two triangular solves."""

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
    if isinstance(flow, RealNVPBank):
        return over_flows([_real_nvp(flow, group) for group in range(flow.n_sources)])
    layers = [layer for s in reversed(flow.steps) for layer in (Coupling(s.coupling, 0), Mixing(s))]
    return over_flows([Chain(layers)])


def _real_nvp(bank: RealNVPBank, group: int) -> Chain:
    layers: list[nn.Module] = []
    for step, order in zip(bank.couplings[::-1], bank.orders.flip(0), strict=True):
        layers += [Coupling(step, group), Permutation(order[group])]
    return Chain(layers)
