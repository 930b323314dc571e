"""The variational posterior against truncated normals of SciPy and posteriors that are known."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from dds_fast.methods import variational
from dds_fast.methods.priors import GaussianPrior
from dds_fast.methods.variational import TruncatedGaussian

N = 3
WIDE = (-60.0, 60.0)


@pytest.mark.parametrize(
    ("mean", "sigma"), [(0.0, 0.3), (0.9, 0.5), (-3.0, 0.4), (3.0, 0.4), (0.2, 20.0)]
)
def test_truncated_gaussian_is_that_of_scipy(mean: float, sigma: float) -> None:
    n = 20_000
    q = TruncatedGaussian(
        torch.full((n,), mean, dtype=torch.float64),
        torch.full((n,), np.log(sigma), dtype=torch.float64),
    )
    reference = scipy.stats.truncnorm((-1 - mean) / sigma, (1 - mean) / sigma, mean, sigma)
    samples = q.rsample(1, torch.Generator().manual_seed(0))[0].detach().numpy()
    assert scipy.stats.kstest(samples, reference.cdf).pvalue > 1e-3
    x = torch.linspace(-1, 1, n, dtype=torch.float64)
    np.testing.assert_allclose(q.log_prob(x).detach(), reference.logpdf(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("parameter", ["mean", "log_sigma"])
def test_samples_carry_the_gradient_of_the_mean(parameter: str) -> None:
    """The pathwise gradient, averaged, is the derivative of the mean that SciPy gives."""
    n, mean, log_sigma, step = 40_000, 0.6, -0.5, 1e-4

    def expected(mean: float, log_sigma: float) -> float:
        sigma = np.exp(log_sigma)
        return scipy.stats.truncnorm((-1 - mean) / sigma, (1 - mean) / sigma, mean, sigma).mean()

    q = TruncatedGaussian(
        torch.full((n,), mean, dtype=torch.float64, requires_grad=True),
        torch.full((n,), log_sigma, dtype=torch.float64, requires_grad=True),
    )
    q.rsample(1, torch.Generator().manual_seed(0)).mean().backward()
    change = (step, 0) if parameter == "mean" else (0, step)
    slope = expected(mean + change[0], log_sigma + change[1])
    slope -= expected(mean - change[0], log_sigma - change[1])
    assert float(getattr(q, parameter).grad.sum()) == pytest.approx(slope / (2 * step), abs=0.01)


@pytest.mark.parametrize("n_sources", [2, 4])
def test_gaussian_posterior_of_sources(n_sources: int) -> None:
    """The best q has the posterior's mean, its precisions, and log p(m) less its divergence."""
    generator = torch.Generator().manual_seed(0)
    prior_mean = torch.randn(n_sources, N, generator=generator).double()
    basis = torch.linalg.qr(torch.randn(n_sources, N, N, generator=generator).double())[0]
    variances = 0.6 + 0.6 * torch.rand(n_sources, 1, N, generator=generator).double()
    prior = GaussianPrior(prior_mean, (basis * variances) @ basis.mT)
    m, sigma = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64), 0.7
    q = variational.separate(
        m, prior, sigma=sigma, bounds=WIDE, n_steps=400, n_samples=32, step_size=0.05
    )

    A = torch.cat([torch.eye(N).double()] * n_sources, dim=1)
    precision = torch.block_diag(*torch.linalg.inv(prior.covariance)) + A.T @ A / sigma**2
    evidence = A @ torch.block_diag(*prior.covariance) @ A.T + sigma**2 * torch.eye(N)
    shift = torch.block_diag(*prior.precision) @ prior_mean.flatten() + A.T @ m / sigma**2
    mean = torch.linalg.solve(precision, shift)
    np.testing.assert_allclose(q.mean.flatten(), mean, atol=0.04)
    best = precision.diagonal().rsqrt()
    np.testing.assert_allclose(q.sigma.flatten(), best, rtol=0.06)
    divergence = -0.5 * torch.logdet(precision) - best.log().sum()
    log_evidence = torch.distributions.MultivariateNormal(prior_mean.sum(0), evidence).log_prob(m)
    tail = q.elbo[-100:, 0]
    error = 4.5 * tail.std() / len(tail) ** 0.5
    # What the fit itself lacks is second order in the errors above.
    assert tail.mean() == pytest.approx(float(log_evidence - divergence), abs=error + 0.02)


def test_shapes_types_and_seed() -> None:
    prior = GaussianPrior(torch.zeros(2, N), torch.eye(N).repeat(2, 1, 1))
    settings = {"sigma": 0.1, "n_steps": 3}
    one = variational.separate(np.ones(N, np.float32), prior, **settings)
    assert one.mean.shape == one.sigma.shape == (2, N) and one.elbo.shape == (3, 1)
    assert one.mean.dtype == np.float32
    many = variational.separate(torch.ones(5, N), prior, **settings)
    assert many.mean.shape == (2, 5, N) and isinstance(many.mean, torch.Tensor)
    again = variational.separate(torch.ones(5, N), prior, **settings)
    other = variational.separate(torch.ones(5, N), prior, **settings, random_state=1)
    assert torch.equal(many.mean, again.mean) and not torch.equal(many.mean, other.mean)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigma": 0.0}, "sigma must be"),
        ({"step_size": -1.0}, "step_size must be"),
        ({"n_steps": 0}, "at least 1"),
        ({"bounds": (1.0, 1.0)}, "bounds must rise"),
        ({"weights": [1.0]}, "weights must be 2"),
    ],
)
def test_bad_input(changes: dict[str, object], message: str) -> None:
    prior = GaussianPrior(torch.zeros(2, N), torch.eye(N).repeat(2, 1, 1))
    with pytest.raises(ValueError, match=message):
        variational.separate(np.ones(N), prior, **{"sigma": 0.1, **changes})
