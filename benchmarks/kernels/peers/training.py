"""Training steps of a bank in plain PyTorch: stacked weights, or a module per note."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from kernels.peers.loop import network
from torch import Tensor, nn

from dds_fast.flows import RealNVPBank
from dds_fast.flows.coupling import CouplingStep
from dds_fast.flows.training.losses import bank_loss

MAX_NORM = 5.0
LEARNING_RATE = 1e-3

TrainingStep = Callable[[Tensor], Tensor]
"""``(S, rows, F)`` spectra to ``(S,)`` losses before the step."""


def batched(bank: RealNVPBank) -> TrainingStep:
    """Stacked weights, autograd, each flow's gradient clipped by its own norm."""
    optimizer = torch.optim.Adam(bank.parameters(), lr=LEARNING_RATE, fused=True)
    parameters = list(bank.parameters())

    def step(x: Tensor) -> Tensor:
        losses = bank_loss(bank, x).mean(-1)
        optimizer.zero_grad()
        losses.sum().backward()
        gradients = [p.grad for p in parameters if p.grad is not None]
        norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients if g.ndim > 1])
        scales = torch.stack([g.abs() for g in gradients if g.ndim == 1])
        norm = torch.cat([norms, scales]).norm(dim=0)
        scale = (MAX_NORM / norm.clamp_min(1e-12)).clamp_max(1.0)
        for g in gradients:
            g.mul_(scale.view(-1, *[1] * (g.ndim - 1)))
        optimizer.step()
        return losses.detach()

    return step


class Coupling(nn.Module):
    """Permutation and affine coupling in the encode direction."""

    order: Tensor

    def __init__(self, step: CouplingStep, order: Tensor, group: int) -> None:
        super().__init__()
        self.register_buffer("order", order)
        self.network = network(step, group).requires_grad_(True)
        self.alpha = nn.Parameter(step.alpha.detach()[group].clone())
        self.beta = nn.Parameter(step.beta.detach()[group].clone())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        passing, moved = x[:, self.order].chunk(2, dim=-1)
        raw, translation = self.network(passing).chunk(2, dim=-1)
        log_scale = self.alpha * torch.tanh(raw) + self.beta
        moved = moved * torch.exp(log_scale) + translation
        return torch.cat([passing, moved], dim=-1), log_scale.sum(-1)


class Flow(nn.Module):
    """One note's RealNVP."""

    def __init__(self, bank: RealNVPBank, group: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            Coupling(step, order[group].clone(), group)
            for step, order in zip(bank.couplings, bank.orders, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(rows,)`` negative log-likelihoods in nats."""
        total = x.new_zeros(len(x))
        for step in self.steps:
            x, log_det = step(x)
            total = total + log_det
        return 0.5 * (x.square().sum(-1) + x.shape[1] * math.log(2 * math.pi)) - total


def module_per_note(bank: RealNVPBank) -> TrainingStep:
    """Sixty trainings one after the other, a step of each; on the memory of the bank's weights."""
    flows = [Flow(bank, group) for group in range(bank.n_sources)]
    optimizers = [torch.optim.Adam(flow.parameters(), lr=LEARNING_RATE) for flow in flows]

    def step(x: Tensor) -> Tensor:
        losses = []
        for flow, optimizer, rows in zip(flows, optimizers, x, strict=True):
            loss = flow(rows).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(flow.parameters(), MAX_NORM)
            optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses)

    return step
