"""The flows built from nflows: its couplings, permutations, ActNorm and linear transforms.

nflows fixes the scale of its affine coupling to a sigmoid; the one method that says so is
overridden. Its linear transforms keep their inverse in a cache, which nflows offers for frozen
weights; the cache is filled here, since nflows inverts by functions that PyTorch has removed.
"""

from __future__ import annotations

import torch
from kernels.peers import Decode, Flow
from kernels.peers.loop import chains, network, over_flows
from nflows.transforms import (
    ActNorm,
    AffineCouplingTransform,
    CompositeTransform,
    NaiveLinear,
    Permutation,
    Transform,
)
from torch import Tensor, nn

from dds_fast.flows.coupling import CouplingStep
from dds_fast.flows.glow import GlowStep


class _Network(nn.Module):
    """nflows passes a context, which plain layers do not take."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, rows: Tensor, context: None = None) -> Tensor:
        return self.layers(rows)


class _TanhCoupling(AffineCouplingTransform):
    def __init__(self, step: CouplingStep, group: int) -> None:
        n_passing, n_features = step.weights[0].shape[2], _n_features(step)
        layers = _Network(network(step, group))
        super().__init__(torch.arange(n_features) >= n_passing, lambda *_: layers)
        self.alpha, self.beta = step.alpha.detach()[group], step.beta.detach()[group]

    def _scale_and_shift(self, transform_params: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = transform_params.chunk(2, dim=1)
        return torch.exp(self.alpha * torch.tanh(raw) + self.beta), shift


def _n_features(step: CouplingStep) -> int:
    return step.weights[0].shape[2] + step.weights[-1].shape[1] // 2


def _mixing(step: GlowStep) -> list[Transform]:
    scale = ActNorm(len(step.actnorm.bias))
    scale.log_scale.data = step.actnorm.log_scale.detach()
    scale.shift.data = (step.actnorm.bias * torch.exp(step.actnorm.log_scale)).detach()
    linear = NaiveLinear(len(step.actnorm.bias), orthogonal_initialization=False, using_cache=True)
    matrix = step.mixing.matrix().detach()
    linear.cache.inverse = torch.linalg.inv(matrix.double()).to(matrix.dtype)
    linear.cache.logabsdet = step.mixing.log_det().detach()
    return [scale, linear]


def decoder(flow: Flow) -> Decode:
    """Each flow an nflows ``CompositeTransform``; decoding is its inverse."""
    layers = chains(
        flow,
        lambda step, order, group: (Permutation(order), _TanhCoupling(step, group)),
        lambda step: (*_mixing(step), _TanhCoupling(step.coupling, 0)),
    )
    device = next(flow.parameters()).device
    modules = [
        CompositeTransform(chain).eval().requires_grad_(False).to(device) for chain in layers
    ]
    return over_flows([module.inverse for module in modules])
