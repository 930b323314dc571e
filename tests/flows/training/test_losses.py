"""The losses of flows against their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch

from dds_fast.flows import ConditionalGlow, RealNVPBank
from dds_fast.flows.training.losses import bank_loss, glow_loss, log_density, semantic_loss

SIGMA = math.sqrt(60 / (2 * 1e4))
"""Of z_s around its one-hot code: S / (2 lambda_s) with the paper's S = 60 and lambda_s = 1e4."""


@pytest.mark.parametrize("n_sources", [2, 7, 60])
def test_the_semantic_weight_grows_with_the_sources(n_sources: int) -> None:
    """lambda_s = S / (2 sigma^2) on the mean squared error, 1e4 at S = 60."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(9, n_sources, generator=generator).double()
    labels = torch.arange(9) % n_sources
    mean_square = np.square(z.numpy() - np.eye(n_sources)[labels.numpy()]).mean(1)
    weight = 1e4 * n_sources / 60
    np.testing.assert_allclose(semantic_loss(z, labels), weight * mean_square, rtol=1e-12)


def test_log_density_is_that_of_a_standard_normal() -> None:
    z = torch.linspace(-4, 4, 30).double().view(6, 5)
    np.testing.assert_allclose(log_density(z), scipy.stats.norm.logpdf(z).sum(1), rtol=1e-12)


def test_a_class_conditional_flow_is_charged_its_likelihood() -> None:
    S, F = 3, 9
    flow = ConditionalGlow(S, F, n_steps=2, width=5, depth=1).double()
    x, labels = torch.rand(4, F).double(), torch.tensor([0, 2, 1, 2])
    z, log_det = (value.detach().numpy() for value in flow.encode(x))
    logs = scipy.stats.norm.logpdf(z[:, :S], np.eye(S)[labels.numpy()], SIGMA).sum(1)
    logs += scipy.stats.norm.logpdf(z[:, S:]).sum(1) + log_det
    constant = S * math.log(SIGMA * math.sqrt(2 * math.pi))
    np.testing.assert_allclose(glow_loss(flow, x, labels).detach(), -logs - constant, rtol=1e-10)


def test_a_bank_is_charged_its_likelihood() -> None:
    bank = RealNVPBank(2, 9, n_steps=2, width=5, depth=1).double()
    x = torch.rand(2, 4, 9).double()
    z, log_det = (value.detach().numpy() for value in bank.encode(x))
    expected = -scipy.stats.norm.logpdf(z).sum(-1) - log_det
    np.testing.assert_allclose(bank_loss(bank, x).detach(), expected, rtol=1e-12)
