"""Priors against densities of SciPy and scores by differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch

from dds_fast.flows import ConditionalGlow, FloWaveNetBank, RealNVPBank
from dds_fast.flows.training.losses import SEMANTIC_VARIANCE, bank_loss, glow_loss
from dds_fast.methods.priors import BankPrior, GaussianPrior, GlowPrior, Prior, cross_likelihood

F = 8


def flows() -> dict[str, Prior]:
    sizes = {"n_steps": 2, "width": 5, "depth": 1}
    root = torch.randn(3, F, F, generator=torch.Generator().manual_seed(0)).double()
    waves = FloWaveNetBank(3, n_blocks=3, n_flows=1, width=3, n_layers=1).double()
    with torch.no_grad():
        for parameter in waves.parameters():
            parameter.add_(0.1)
    return {
        "gaussian": GaussianPrior(root[:, 0], root @ root.mT + torch.eye(F).double()),
        "bank": BankPrior(RealNVPBank(3, F, **sizes).double()),
        "glow": GlowPrior(ConditionalGlow(3, F, **sizes).double()),
        "waves": BankPrior(waves),
    }


def rows(n: int = 4) -> torch.Tensor:
    return torch.rand(3, n, F, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("kind", ["gaussian", "bank", "glow", "waves"])
def test_score_is_the_derivative_of_the_density(kind: str) -> None:
    prior, s, step = flows()[kind], rows(), 1e-6
    direction = torch.randn(s.shape, generator=torch.Generator().manual_seed(2)).double()
    with torch.no_grad():
        change = prior.log_prob(s + step * direction) - prior.log_prob(s - step * direction)
    slope = (prior.score(s) * direction).sum(-1)
    torch.testing.assert_close(slope, change / (2 * step), rtol=1e-6, atol=1e-5)


def test_gaussian_density_is_that_of_scipy() -> None:
    prior, s = flows()["gaussian"], rows()
    for k in range(3):
        expected = scipy.stats.multivariate_normal(prior.mean[k], prior.covariance[k]).logpdf(s[k])
        np.testing.assert_allclose(prior.log_prob(s)[k], expected, rtol=1e-9)
    noised = prior.noised(0.5)
    torch.testing.assert_close(noised.covariance, prior.covariance + 0.25 * torch.eye(F).double())


def test_flow_densities_are_what_training_maximises() -> None:
    priors, s = flows(), rows()
    torch.testing.assert_close(priors["bank"].log_prob(s), -bank_loss(priors["bank"].bank, s))
    labels = torch.arange(3).repeat_interleave(4)
    loss = glow_loss(priors["glow"].glow, s.flatten(0, 1), labels).view(3, 4)
    constant = 1.5 * math.log(2 * math.pi * SEMANTIC_VARIANCE)
    torch.testing.assert_close(priors["glow"].log_prob(s), -loss - constant)


def test_chosen_classes_and_flows() -> None:
    priors, s = flows(), rows()
    expected = priors["glow"].log_prob(s)
    chosen = GlowPrior(priors["glow"].glow, (2, 0))
    torch.testing.assert_close(chosen.log_prob(s[[2, 0]]), expected[[2, 0]])
    bank = priors["bank"].bank
    z, log_det = bank.encode(s)
    z_chosen, log_det_chosen = bank.select((2, 0)).encode(s[[2, 0]])
    assert torch.equal(z_chosen, z[[2, 0]]) and torch.equal(log_det_chosen, log_det[[2, 0]])


@pytest.mark.parametrize("kind", ["bank", "waves", "glow"])
def test_cross_likelihood_entry_by_entry(kind: str) -> None:
    prior, clips = flows()[kind], rows()
    matrix = cross_likelihood(prior, clips)
    latent = cross_likelihood(prior, clips, log_det=False)
    for i in range(3):
        for j in range(3):
            s = clips.clone()
            s[i] = clips[j]
            with torch.no_grad():
                assert matrix[i, j] == pytest.approx(float(prior.log_prob(s)[i].mean()) / F)
                assert latent[i, j] == pytest.approx(float(prior.parts(s)[0][i].mean()) / F)


def test_cross_likelihood_has_a_floor_and_checks_shapes() -> None:
    prior = GaussianPrior(torch.tensor([[0.0], [1e3]]), torch.ones(2, 1, 1))
    clips = torch.tensor([[[0.0], [math.nan]], [[1e3], [1e3]]])
    assert cross_likelihood(prior, 1e6 * clips).min() == -1000
    matrix = cross_likelihood(prior, clips, floor=-100)
    assert matrix[0].tolist() == pytest.approx([(-0.9189 - 100) / 2, -100], abs=1e-3)
    assert matrix[1].tolist() == pytest.approx([-100, -0.9189], abs=1e-3)
    with pytest.raises(ValueError, match="one row per prior"):
        cross_likelihood(prior, clips[:1])
