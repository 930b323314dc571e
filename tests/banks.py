"""Flow banks of odd sizes, and the float64 truth about them, for the tests of the CUDA kernels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import ModuleType

import pytest
import torch
from torch import Tensor

from dds_fast import _native
from dds_fast.flows import RealNVPBank
from dds_fast.flows.reference import flow as reference
from dds_fast.ops import FrozenFlow, FrozenStep

# Sources, features, rows, steps, width, depth. 67 rows take two blocks.
CASES = {
    "S=3 F=42 K=3": (3, 42, 3, 3, 11, 2),
    "S=2 F=123 K=37, no hidden layer": (2, 123, 37, 3, 70, 0),
    "S=1 F=6 K=1": (1, 6, 1, 2, 5, 1),
    "S=2 F=257 K=17": (2, 257, 17, 2, 130, 3),
    "S=2 F=64 K=67": (2, 64, 67, 2, 33, 1),
    "F=512 of the paper": (1, 512, 20, 16, 128, 4),
}
ODD = [case for case in CASES if "paper" not in case]

# Measured up to 4.1e-4, 5.5e-4 and 1.2e-2 on these cases and on F = 1024. As in bfloat16 (see
# tolerances.py), gradients suffer where an activation's slope jumps.
TF32 = {"output": 2e-3, "log_det": 3e-3, "gradient": 4e-2}


@dataclass
class Truth:
    """A bank in float32, rows, cotangents, and what float64 makes of them."""

    flow: FrozenFlow
    rows: Tensor
    grad_out: Tensor
    grad_log_det: Tensor
    out: Tensor
    log_det: Tensor
    gradient: Tensor


def truth(case: str, direction: str, activation: str = "selu") -> Truth:
    S, F, K, n_steps, width, depth = CASES[case]
    generator = torch.Generator().manual_seed(0)
    bank = RealNVPBank(S, F, n_steps=n_steps, width=width, depth=depth).freeze()
    steps = []
    for step in bank.steps:
        coupling = replace(
            step.coupling,
            alpha=torch.rand(S, generator=generator) + 0.3,
            beta=torch.rand(S, generator=generator) - 0.5,
            activation=activation,
        )
        steps.append(FrozenStep(coupling, step.order))
    flow = FrozenFlow(tuple(steps), bank.log_det).to(torch.float64)
    rows, grad_out = torch.randn(2, S, K, F, generator=generator).double()
    grad_log_det = torch.randn(S, K, generator=generator).double()
    out, log_det, stash = reference.forward(flow, rows, direction)
    gradient = reference.backward(flow, stash, grad_out, grad_log_det, direction)
    return Truth(
        flow.to(torch.float32),
        rows.float(),
        grad_out.float(),
        grad_log_det.float(),
        out,
        log_det,
        gradient,
    )


def native() -> ModuleType:
    """The CUDA module; skips the test where it was not built."""
    try:
        return _native.cuda()
    except ImportError:
        pytest.skip("the CUDA module was not built")


@dataclass
class Search:
    """The latent half-step of a search, from the formulas, in the dtype of its latents."""

    flow: FrozenFlow
    latents: Tensor
    moments: tuple[Tensor, Tensor]
    n_fixed: int
    data_likelihood: bool
    n_moved: int = 0

    def decode(self) -> tuple[Tensor, Tensor]:
        """Clipped entries, and log-likelihoods in nats per latent dim that moves."""
        x, log_det, self.stash = reference.forward(self.flow, self.latents, "decode")
        free = self.latents[..., self.n_fixed :]
        D = free.shape[-1]
        likelihood = torch.distributions.Normal(0, 1).log_prob(free).sum(-1)
        if self.data_likelihood:
            likelihood = likelihood - log_det
        self.entries = x.clamp_min(0)
        return self.entries, likelihood / D

    def move(self, gradient: Tensor, grad_log_likelihoods: Tensor, step_size: float) -> None:
        """Adam (Kingma and Ba, algorithm 1), given the gradients to the decoded."""
        D = self.latents.shape[-1] - self.n_fixed
        pull = -grad_log_likelihoods / D
        grad = reference.backward(
            self.flow,
            self.stash,
            torch.where(self.entries > 0, gradient, 0.0),
            pull if self.data_likelihood else None,
            "decode",
        )[..., self.n_fixed :]
        free = self.latents[..., self.n_fixed :]
        grad = grad + pull[..., None] * free
        self.n_moved += 1
        first, second = self.moments
        first.mul_(0.9).add_(0.1 * grad)
        second.mul_(0.999).add_(0.001 * grad**2)
        corrected = first / (1 - 0.9**self.n_moved)
        root = (second / (1 - 0.999**self.n_moved)).sqrt()
        free -= step_size * corrected / (root + 1e-8)
