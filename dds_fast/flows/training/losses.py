"""What the flows are trained on: negative log-likelihoods of notes under their flows."""

from __future__ import annotations

import math

from torch import Tensor, nn

from dds_fast.flows.glow import ConditionalGlow
from dds_fast.flows.realnvp import RealNVPBank

SEMANTIC_VARIANCE = 60 / (2 * 1e4)
"""Variance of z_s around the one-hot code: the paper's weight 1e4 on the mean squared error is
S / (2 variance) for its S = 60 (docs/method.md, Training)."""


def log_density(z: Tensor) -> Tensor:
    """Standard-normal log-density over the last dim, in nats."""
    return -0.5 * (z.square().sum(-1) + z.shape[-1] * math.log(2 * math.pi))


def bank_loss(bank: RealNVPBank, x: Tensor) -> Tensor:
    """Negative log-likelihood of ``(S, rows, F)`` spectra under their flows, ``(S, rows)`` nats.

    Source: DDS paper (arXiv 2211.15524), section IV-B; docs/method.md, Training.
    """
    z, log_det = bank.encode(x)
    return -log_density(z) - log_det


def glow_loss(flow: ConditionalGlow, x: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood of ``(rows, F)`` spectra given their sources, ``(rows,)`` nats.

    The likelihood of z_n, and the squared error of z_s to the one-hot code, which is the
    likelihood of a narrow class-conditional normal (docs/method.md, Training; without the
    adversarial term).
    """
    z, log_det = flow.encode(x)
    semantic, nuisance = z.tensor_split([flow.n_sources], dim=-1)
    return semantic_loss(semantic, labels) - log_density(nuisance) - log_det


def semantic_loss(semantic: Tensor, labels: Tensor) -> Tensor:
    """Squared error of ``(rows, S)`` z_s to the one-hot codes, in nats."""
    target = nn.functional.one_hot(labels, semantic.shape[-1]).to(semantic.dtype)
    return (semantic - target).square().sum(-1) / (2 * SEMANTIC_VARIANCE)
