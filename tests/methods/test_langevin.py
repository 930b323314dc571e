"""Langevin sampling against posteriors that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import dictionary
from torch import Tensor

from dds_fast.methods import langevin
from dds_fast.methods.priors import GaussianPrior

CHAINS = 3000
N = 3
MIXTURE = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)


def gaussians(n_sources: int, random_state: int = 0) -> GaussianPrior:
    """Sources with other means and with correlated samples of other variances, float64."""
    generator = torch.Generator().manual_seed(random_state)
    mean = torch.randn(n_sources, N, generator=generator, dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(n_sources, N, N, generator=generator).double())[0]
    variances = 0.6 + 0.6 * torch.rand(n_sources, 1, N, generator=generator).double()
    return GaussianPrior(mean, (basis * variances) @ basis.mT)


def posterior(
    prior: GaussianPrior, m: Tensor, weights: Tensor, sigma: float
) -> tuple[Tensor, Tensor]:
    """Mean ``(S n,)`` and covariance ``(S n, S n)`` of the sources given their mixture.

    From the joint Gaussian of sources and mixture, not from the gradients that the sampler uses.
    """
    C = torch.block_diag(*prior.covariance)
    A = torch.cat([w * torch.eye(N, dtype=m.dtype) for w in weights], dim=1)
    gain = C @ A.T @ torch.linalg.inv(A @ C @ A.T + sigma**2 * torch.eye(N, dtype=m.dtype))
    mean = prior.mean.flatten() + gain @ (m - A @ prior.mean.flatten())
    return mean, C - gain @ A @ C


def assert_samples(samples: Tensor, mean: Tensor, covariance: Tensor, bias: float) -> None:
    """``(S, chains, n)`` samples have this mean and covariance, within 4.5 standard errors.

    The standard error is 1 / sqrt(chains) deviations for a mean, at most sqrt(2 / chains) for an
    entry of the covariance; `bias` is the share that a finite step adds to the variance.
    """
    samples = samples.transpose(0, 1).flatten(1)
    deviation = covariance.diagonal().sqrt()
    error = (samples.mean(0) - mean) / deviation
    assert float(error.abs().max()) < 4.5 / CHAINS**0.5
    error = (samples.T.cov() - covariance) / (deviation[:, None] * deviation)
    assert float(error.abs().max()) < 4.5 * (2 / CHAINS) ** 0.5 + bias


@pytest.mark.parametrize("weights", [[1.0, 1.0], [0.25, 0.25, 0.25, 0.25], [1.0, -0.5, 0.8, 0.3]])
def test_gaussian_posterior_of_sources(weights: list[float]) -> None:
    prior, sigma = gaussians(len(weights)), 0.7
    stiffest = sum(w * w for w in weights) / sigma**2 + 1 / 0.6
    s = langevin.separate(
        MIXTURE.expand(CHAINS, N),
        prior,
        weights=weights,
        levels=[sigma],
        n_steps=800,
        step_size=0.06 / stiffest,
    ).stems
    alpha = torch.tensor(weights, dtype=torch.float64)
    assert_samples(s, *posterior(prior, MIXTURE, alpha, sigma), bias=0.03)


def test_annealing_ends_at_the_posterior_of_the_lowest_level() -> None:
    prior, levels = gaussians(2), (1.0, 0.7, 0.5)
    s = langevin.separate(
        MIXTURE.expand(CHAINS, N),
        [prior.noised(level) for level in levels],
        levels=levels,
        n_steps=500,
        step_size=6e-3,
    ).stems
    # The stiffest direction has 1 / 0.85 + 2 / 0.25; half of that times the step is the bias.
    expected = posterior(prior.noised(0.5), MIXTURE, torch.ones(2).double(), 0.5)
    assert_samples(s, *expected, bias=0.028)


def test_mixtures_of_a_batch_do_not_see_each_other() -> None:
    prior = gaussians(2)
    m = np.random.default_rng(0).standard_normal((4, N))
    changed = m.copy()
    changed[2] += 10
    first, second = (
        langevin.separate(x, prior, levels=[0.5], n_steps=20).stems for x in (m, changed)
    )
    same = [0, 1, 3]
    assert np.array_equal(first[:, same], second[:, same])
    assert np.abs(first[:, 2] - second[:, 2]).min() > 1e-3


def test_seed_decides_the_samples() -> None:
    prior = gaussians(2)
    first, again, other = (
        langevin.separate(
            np.ones(N), prior, levels=[0.5], n_steps=5, random_state=random_state
        ).stems
        for random_state in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_default_levels_are_those_of_basis() -> None:
    published = [1, 0.5995, 0.3594, 0.2154, 0.1292, 0.0774, 0.0464, 0.0278, 0.0167, 0.01]
    assert langevin.noise_levels() == pytest.approx(published, abs=5e-5)
    assert (langevin.N_STEPS, langevin.STEP_SIZE) == (100, 3e-5)


def test_step_sizes_follow_the_square_of_the_level() -> None:
    """Far from the data, one step of a flat prior is eta times the pull of the mixture."""

    class Flat:
        n_sources = 2

        def score(self, s: Tensor) -> Tensor:
            return torch.zeros_like(s)

    start = np.zeros((2, 1))
    for level in (0.1, 1.0):
        s = langevin.separate(
            np.array([1e6]), Flat(), levels=[level, 0.1], n_steps=1, step_size=1e-4, initial=start
        ).stems
        # Each step pulls every source by step_size / lowest^2 = 1e-2 of the residual.
        expected = 1e4 + 1e-2 * (1e6 - 2e4)
        np.testing.assert_allclose(s, expected, rtol=1e-4)


def test_types_devices_and_shapes() -> None:
    prior = gaussians(2).float()
    settings = {"levels": [0.5], "n_steps": 2}
    for mixtures, shape in ((np.ones(N), (2, N)), (np.ones((5, N), np.float32), (2, 5, N))):
        s = langevin.separate(mixtures, prior, **settings).stems
        assert isinstance(s, np.ndarray) and s.shape == shape and s.dtype == mixtures.dtype
    s = langevin.separate(torch.ones(5, N), prior, **settings).stems
    assert isinstance(s, Tensor) and s.shape == (2, 5, N) and not s.requires_grad


@pytest.mark.gpu
def test_on_a_gpu() -> None:
    prior = gaussians(2).to("cuda")
    s = langevin.separate(np.ones(N), prior, levels=[0.5], n_steps=5).stems
    assert np.isfinite(s).all()
    on_device = torch.ones(N, dtype=torch.float64, device="cuda")
    assert langevin.separate(on_device, prior, levels=[0.5], n_steps=5).stems.is_cuda


def test_bounds_clamp_at_the_end_or_at_every_step() -> None:
    prior, settings = gaussians(2), {"levels": [0.5], "n_steps": 50, "step_size": 0.01}
    free, ends, every = (
        langevin.separate(np.full(N, 5.0), prior, **settings, **bounds).stems
        for bounds in ({}, {"bounds": (-1, 1)}, {"bounds": (-1, 1), "clamp_every_step": True})
    )
    assert np.abs(free).max() > 1.5
    assert np.array_equal(ends, free.clip(-1, 1))
    assert np.abs(every).max() <= 1 and not np.array_equal(ends, every)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixtures": np.ones((2, 2, N))}, r"must be \(n,\) or \(B, n\)"),
        ({"mixtures": np.ones(N, dtype=int)}, "must be floating"),
        ({"mixtures": np.array([0.0, np.nan, 0.0])}, "1 NaN or infinities"),
        ({"weights": [1.0]}, "weights must be 2 finite"),
        ({"levels": []}, "levels must be"),
        ({"levels": [1.0, 0.0]}, "levels must be"),
        ({"n_steps": 0}, "n_steps"),
        ({"step_size": -1.0}, "step_size"),
        ({"step_size": 1.0, "levels": [0.5]}, "constraint of 2 sources diverge"),
        ({"prior": [gaussians(2)] * 3, "levels": [0.5]}, "3 priors for 1 levels"),
        ({"prior": [gaussians(2), gaussians(3)], "levels": [1.0, 0.5]}, "different numbers"),
        ({"initial": np.zeros((3, N))}, "initial must be"),
    ],
)
def test_bad_input(changes: dict[str, object], message: str) -> None:
    arguments = {"mixtures": np.ones(N), "prior": gaussians(2), "n_steps": 1, **changes}
    with pytest.raises(ValueError, match=message):
        langevin.separate(arguments.pop("mixtures"), arguments.pop("prior"), **arguments)


def test_a_prior_too_steep_for_its_level_is_named() -> None:
    steep = GaussianPrior(torch.zeros(2, N), 1e-6 * torch.eye(N).repeat(2, 1, 1))
    with pytest.raises(FloatingPointError, match="source 0 .* level 1, step"):
        langevin.separate(np.ones(N, np.float32), steep)


@pytest.mark.parametrize("kind", ["dds1", "dds2", "dds3"])
def test_frame_prior_of_a_dictionary(kind: str) -> None:
    made = dictionary(kind)
    everyone, chosen = langevin.frame_prior(made), langevin.frame_prior(made, (67, 60))
    s = torch.rand(3, 4, 64)
    expected = everyone.log_prob(s)
    torch.testing.assert_close(chosen.log_prob(s[[2, 0]]), expected[[2, 0]], rtol=1e-5, atol=1e-3)
    m = s.sum(0).numpy()
    drawn = langevin.separate(m, everyone, levels=[0.1], n_steps=3, step_size=1e-4)
    assert list(drawn) == [60, 64, 67] and drawn.sr is None
    sources = drawn.stems
    assert sources.shape == (3, 4, 64) and np.isfinite(sources).all()


def test_frame_prior_needs_a_flow_and_known_sources() -> None:
    with pytest.raises(ValueError, match="no flow"):
        langevin.frame_prior(dictionary("nmf"))
    with pytest.raises(ValueError, match="no source 61"):
        langevin.frame_prior(dictionary("dds2"), (61,))
