"""The flows built from normflows: its couplings, permutations, constants and invertible matrices.

normflows leaves the coupling's network to the user, so the bounded log-scale goes there. Decoding
is the `inverse` of its layers: that is the direction in which its coupling divides by the scale.
"""

from __future__ import annotations

import normflows
import torch
from kernels.peers import Decode, Flow
from kernels.peers.loop import chains, network, over_flows
from torch import Tensor, nn

from dds_fast.flows.coupling import CouplingStep
from dds_fast.flows.glow import GlowStep


class _Parameters(nn.Module):
    """Shift and bounded log-scale, interleaved as normflows reads them."""

    alpha: Tensor
    beta: Tensor

    def __init__(self, step: CouplingStep, group: int) -> None:
        super().__init__()
        self.network = network(step, group)
        self.register_buffer("alpha", step.alpha.detach()[group])
        self.register_buffer("beta", step.beta.detach()[group])

    def forward(self, passing: Tensor) -> Tensor:
        raw, shift = self.network(passing).chunk(2, dim=1)
        log_scale = self.alpha * torch.tanh(raw) + self.beta
        return torch.stack([shift, log_scale], dim=-1).flatten(1)


def _coupling(step: CouplingStep, group: int) -> nn.Module:
    return normflows.flows.AffineCouplingBlock(_Parameters(step, group), scale_map="exp")


def _permutation(order: Tensor) -> nn.Module:
    layer = normflows.flows.Permute(len(order), mode="shuffle")
    layer.perm, layer.inv_perm = order, torch.argsort(order)
    return layer


def _mixing(step: GlowStep) -> list[nn.Module]:
    """The inverse matrix is stored, so that no call inverts."""
    n_features = len(step.actnorm.bias)
    constants = normflows.flows.AffineConstFlow(n_features)
    # Its inverse is (z - t) exp(-s); ActNorm's inverse is y exp(-l) - b.
    constants.s.data = step.actnorm.log_scale.detach()[None]
    constants.t.data = (step.actnorm.bias * torch.exp(step.actnorm.log_scale)).detach()[None]
    matrix = normflows.flows.InvertibleAffine(n_features, use_lu=False)
    unmixing = torch.linalg.inv(step.mixing.matrix().detach().double())
    matrix.W.data = unmixing.T.to(step.actnorm.bias.dtype).contiguous()
    return [constants, matrix]


def decoder(flow: Flow) -> Decode:
    """Each flow a ``NormalizingFlow``."""
    layers = chains(
        flow,
        lambda step, order, group: (_permutation(order), _coupling(step, group)),
        lambda step: (*_mixing(step), _coupling(step.coupling, 0)),
    )
    base = normflows.distributions.DiagGaussian(flow.n_features, trainable=False)
    device = next(flow.parameters()).device
    models = [
        normflows.NormalizingFlow(base, chain).requires_grad_(False).to(device) for chain in layers
    ]
    return over_flows([model.inverse_and_log_det for model in models])
