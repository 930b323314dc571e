"""The amortised posterior against the best one there is, known for Gaussians."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dds_fast.methods import amortised, variational
from dds_fast.methods.amortised import AmortisedPosterior, MixtureNet
from dds_fast.methods.priors import GaussianPrior
from dds_fast.methods.variational import Model

N = 3
VARIANCES = torch.tensor([0.04, 0.09])
PRIOR = GaussianPrior(torch.zeros(2, N), VARIANCES[:, None, None] * torch.eye(N))
SIGMA = 0.2
RNG = np.random.default_rng(0)
MIXTURES = RNG.normal(0, (0.04 + 0.09 + SIGMA**2) ** 0.5, (500, N))
OPTIONS: dict[str, Any] = {"sigma": SIGMA, "bounds": (-9.0, 9.0)}


def test_it_finds_the_posterior_of_gaussian_sources() -> None:
    """Linear in the mixture, which a linear layer can be: for mixtures that it has not seen."""
    q = amortised.learn(
        MIXTURES, PRIOR, network=nn.Linear(N, 4 * N), n_steps=600, n_samples=4, step_size=2e-2,
        **OPTIONS,
    )  # fmt: skip
    m = np.array([[0.5, -0.2, 0.0], [0.1, 0.9, -0.6]])
    posterior = q.separate(m, n_samples=4000)
    gains = VARIANCES.numpy() / (0.04 + 0.09 + SIGMA**2)
    np.testing.assert_allclose(posterior.mean, gains[:, None, None] * m, atol=0.03)
    sigma = (1 / VARIANCES.numpy() + 1 / SIGMA**2) ** -0.5  # of the best product of Gaussians
    np.testing.assert_allclose(posterior.sigma, np.broadcast_to(sigma[:, None, None], (2, 2, N)),
                               rtol=0.15)  # fmt: skip
    free = variational.separate(m, PRIOR, n_steps=300, n_samples=16, step_size=0.05, **OPTIONS)
    bounds = free.elbo[-100:].mean(0)
    assert (posterior.elbo[0] < bounds + 0.05).all()
    np.testing.assert_allclose(posterior.elbo[0], bounds, atol=0.15)


def test_bound_by_hand() -> None:
    """The mean over samples of log p(m | s) + log p(s) - log q(s)."""
    model = Model(PRIOR, SIGMA, [1.0, 0.5], (-9.0, 9.0))
    m = torch.tensor([[0.3, -0.1, 0.2]]).double()
    q = model.start(m)
    s = q.rsample(3, torch.Generator().manual_seed(5)).numpy()
    found = model.elbo(q, m, 3, torch.Generator().manual_seed(5))

    def normal(x: np.ndarray, mean: np.ndarray, sigma: np.ndarray | float) -> np.ndarray:
        return -0.5 * ((x - mean) / sigma) ** 2 - np.log(sigma * np.sqrt(2 * np.pi))

    alpha = np.array([1.0, 0.5])[:, None, None]
    expected = normal(m.numpy(), (alpha * s).sum(1), SIGMA).sum(-1)
    deviations = VARIANCES.sqrt().double().numpy()[:, None, None]
    expected += normal(s, np.zeros(1), deviations).sum((1, 3))
    expected -= normal(s, m.numpy() * alpha / 1.25, SIGMA).sum((1, 3))
    np.testing.assert_allclose(found, expected.mean(0), rtol=1e-6)


def test_a_new_network_is_where_the_free_fit_begins() -> None:
    q = AmortisedPosterior(MixtureNet(2), Model(PRIOR, SIGMA, [3.0, 1.0]))
    posterior = q.separate(np.full((4, N), 0.5))
    np.testing.assert_allclose(posterior.mean[0], 0.15, rtol=1e-6)
    np.testing.assert_allclose(posterior.mean[1], 0.05, rtol=1e-6)
    np.testing.assert_allclose(posterior.sigma, SIGMA, rtol=1e-6)


def test_it_learns_and_leaves_the_prior_alone() -> None:
    prior = GaussianPrior(PRIOR.mean.clone(), PRIOR.covariance.clone())
    prior.mean = nn.Parameter(prior.mean)
    before = torch.get_rng_state()
    q = amortised.learn(MIXTURES, prior, n_steps=60, step_size=1e-2, **OPTIONS)
    assert torch.equal(torch.get_rng_state(), before)
    assert q.history.shape == (60,) and q.history[-10:].mean() > q.history[:10].mean() + 0.1
    assert prior.mean.grad is None and not prior.mean.any()
    again, other = (
        amortised.learn(MIXTURES, prior, n_steps=2, random_state=n, **OPTIONS) for n in (0, 1)
    )
    assert np.array_equal(q.history[:1], again.history[:1])
    assert not np.array_equal(again.history, other.history)


def test_shapes_and_types() -> None:
    q = amortised.learn(MIXTURES.astype("f4"), PRIOR, n_steps=2, **OPTIONS)
    one = q.separate(np.ones(N, np.float32))
    assert one.mean.shape == one.sigma.shape == (2, N) and one.elbo.shape == (1, 1)
    assert one.mean.dtype == np.float32
    many = q.separate(torch.ones(5, N))
    assert isinstance(many.mean, torch.Tensor) and many.mean.shape == (2, 5, N)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigma": 0.0}, "sigma must be"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"n_steps": 0}, "n_steps must be"),
        ({"bounds": (1.0, 0.0)}, "bounds must rise"),
        ({"weights": [1.0]}, "weights must be 2"),
    ],
)
def test_bad_input(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        amortised.learn(MIXTURES, PRIOR, **{"sigma": 0.1, **changes})


def test_a_bound_that_is_lost() -> None:
    class Broken(GaussianPrior):
        def log_prob(self, s: torch.Tensor) -> torch.Tensor:
            return super().log_prob(s) * torch.nan

    with pytest.raises(FloatingPointError, match=r"no longer finite in step 1; .* \(0.001\)"):
        amortised.learn(MIXTURES, Broken(PRIOR.mean, PRIOR.covariance), n_steps=2, sigma=0.1)
