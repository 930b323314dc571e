"""Sources by a variational posterior: a truncated Gaussian per sample, fitted by the ELBO."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dds_fast import arrays, scalars
from dds_fast.arrays import Kind
from dds_fast.methods.langevin import as_mixtures, as_weights, names_of
from dds_fast.methods.priors import Prior
from dds_fast.progress import bar
from dds_fast.separation import Separation


def _mirrored(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The interval on the side with the smaller Phi, where floats keep their digits.

    Returns:
        Its ends, and 1, or -1 where it was mirrored at 0.
    """
    mirror = low + high > 0
    sign = torch.where(mirror, -1.0, 1.0).to(low)
    return torch.where(mirror, -high, low), torch.where(mirror, -low, high), sign


def log_interval(low: Tensor, high: Tensor) -> Tensor:
    """``log(Phi(high) - Phi(low))``, exact far out in the tails.

    Example:
        >>> log_interval(torch.tensor(30.0), torch.tensor(31.0))
        tensor(-454.32...)
    """
    low, high, _ = _mirrored(low, high)
    log_low, log_high = torch.special.log_ndtr(low), torch.special.log_ndtr(high)
    return log_high + torch.log1p(-torch.exp(log_low - log_high))


class TruncatedGaussian:
    """Independent Gaussians on an interval, with samples that carry gradients to mu and sigma.

    Args:
        mean, log_sigma: tensors of one shape: the Gaussian before it is cut.
        bounds: the interval.

    Source: inverse-CDF sampling; Frank (thesis, 2020); docs/method.md, Relatives.

    Example:
        >>> q = TruncatedGaussian(torch.zeros(3), torch.zeros(3))
        >>> bool((q.rsample(1, torch.Generator().manual_seed(0)).abs() <= 1).all())
        True
    """

    def __init__(
        self, mean: Tensor, log_sigma: Tensor, bounds: tuple[float, float] = (-1.0, 1.0)
    ) -> None:
        self.mean, self.log_sigma, self.bounds = mean, log_sigma, bounds

    def rsample(self, n: int, generator: torch.Generator) -> Tensor:
        """``(n, ...)`` samples, differentiable."""
        low, high = ((end - self.mean) * torch.exp(-self.log_sigma) for end in self.bounds)
        low, high, sign = _mirrored(low, high)
        uniform = torch.rand(
            (n, *low.shape), generator=generator, dtype=low.dtype, device=low.device
        )
        low_cdf, high_cdf = torch.special.ndtr(low), torch.special.ndtr(high)
        tiny = torch.finfo(low.dtype).tiny
        xi = torch.special.ndtri((low_cdf + uniform * (high_cdf - low_cdf)).clamp_min(tiny))
        x = self.mean + sign * xi * self.log_sigma.exp()
        return x.clamp(*self.bounds)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density of each entry."""
        low, high = ((end - self.mean) * torch.exp(-self.log_sigma) for end in self.bounds)
        xi = (x - self.mean) * torch.exp(-self.log_sigma)
        density = -self.log_sigma - 0.5 * (xi.square() + math.log(2 * math.pi))
        return density - log_interval(low, high)


class Posterior(Separation):
    """A fitted variational posterior: the sources' means, and how sure they are.

    Attributes:
        mean: ``(S, B, n)`` centres of the truncated Gaussians, within the bounds; the stems.
        sigma: ``(S, B, n)`` deviations, before truncation.
        elbo: ``(n_steps, B)`` lower bounds of ``log p(m)`` in nats, one estimate per step.

    Example:
        >>> elbo = np.array([[-9.0], [-7.5]])
        >>> posterior = Posterior(("a", "b"), np.zeros((2, 3)), np.ones((2, 3)), elbo)
        >>> posterior.mean.shape, posterior["b"], float(posterior.elbo[-1, 0])
        ((2, 3), array([0., 0., 0.]), -7.5)
    """

    def __init__(self, names: Sequence[int | str], mean: Any, sigma: Any, elbo: np.ndarray) -> None:
        super().__init__(names, mean)
        self.sigma, self.elbo = sigma, elbo

    @property
    def mean(self) -> Any:
        return self.stems


class Model:
    """What a posterior is fitted to: ``p(m, s)``, mixtures m with white noise of sources s.

    Args:
        prior: what has ``n_sources`` and ``log_prob(s)`` ``(S, B)`` of ``(S, B, n)`` sources,
            differentiable.
        sigma: deviation of the noise of the mixtures.
        weights: S weights of the sources in a mixture; by default all 1.
        bounds: range of the data.

    Raises:
        ValueError: numbers that do not fit.

    Example:
        >>> from dds_fast.methods.priors import GaussianPrior
        >>> model = Model(GaussianPrior(torch.zeros(2, 3), torch.eye(3).repeat(2, 1, 1)), sigma=0.1)
        >>> q = model.start(torch.ones(1, 3))
        >>> q.mean.shape, model.elbo(q, torch.ones(1, 3), 4, torch.Generator()).shape
        (torch.Size([2, 1, 3]), torch.Size([1]))
    """

    def __init__(
        self,
        prior: Prior,
        sigma: float,
        weights: Sequence[float] | None = None,
        bounds: tuple[float, float] = (-1.0, 1.0),
    ) -> None:
        self.prior, self.sigma = prior, scalars.positive("sigma", sigma)
        self.alpha = as_weights(weights, prior.n_sources)
        self.bounds = scalars.pair("bounds", bounds)
        if not self.bounds[0] < self.bounds[1]:
            raise ValueError(f"bounds must rise, not {self.bounds!r}")

    def start(self, m: Tensor) -> TruncatedGaussian:
        """Where q of ``(B, n)`` mixtures begins: every source has its share, as sure of it as the
        mixture is."""
        alpha = self.alpha.to(m)[:, None, None]
        share = (m * alpha / alpha.square().sum()).clamp(*self.bounds)
        return TruncatedGaussian(share, torch.full_like(share, math.log(self.sigma)), self.bounds)

    def elbo(
        self, q: TruncatedGaussian, m: Tensor, n_samples: int, generator: torch.Generator
    ) -> Tensor:
        """``(B,)`` estimates of ``E_q[log p(m | s) + sum_k log p(s_k) - log q_k(s_k)]`` in nats.

        Raises:
            FloatingPointError: one is not finite.
        """
        s = q.rsample(n_samples, generator)
        residual = (m - (self.alpha.to(m)[:, None, None] * s).sum(1)) / self.sigma
        likelihood = -0.5 * residual.square() - math.log(self.sigma * math.sqrt(2 * math.pi))
        prior_nats = self.prior.log_prob(s.transpose(0, 1).flatten(1, 2)).sum(0)
        elbo = likelihood.sum(-1) + prior_nats.view(n_samples, -1) - q.log_prob(s).sum((1, 3))
        elbo = elbo.mean(0)
        if not torch.isfinite(elbo).all():
            bad = int((~torch.isfinite(elbo)).nonzero()[0])
            raise FloatingPointError(f"the ELBO of mixture {bad} is no longer finite")
        return elbo


class Ascent:
    """Adam on the ELBO; its step size falls to zero along a half cosine.

    Args:
        parameters: of q.
        step_size: of Adam, at first.
        n_steps: how many there will be.

    Example:
        >>> x = torch.zeros(1, requires_grad=True)
        >>> ascent = Ascent([x], step_size=0.1, n_steps=100)
        >>> for _ in range(100):
        ...     ascent.step(-(x - 1).square().sum())
        >>> round(x.item(), 1)
        1.0
    """

    def __init__(self, parameters: Iterable[Tensor], step_size: float, n_steps: int) -> None:
        self.parameters, self.step_size = list(parameters), step_size
        self.optimizer = torch.optim.Adam(self.parameters, lr=step_size)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, n_steps)

    def step(self, elbo: Tensor, max_norm: float = math.inf) -> None:
        """Ascend a bound: gradients for q alone, the prior's parameters stay untouched.

        Args:
            elbo: scalar.
            max_norm: of the gradient, which is cut there.
        """
        gradients = torch.autograd.grad(-elbo, self.parameters)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(self.parameters, max_norm)
        self.optimizer.step()
        self.schedule.step()


@arrays.isolated()
def separate(
    mixtures: Any,
    prior: Prior,
    *,
    sigma: float,
    weights: Sequence[float] | None = None,
    bounds: tuple[float, float] = (-1.0, 1.0),
    n_steps: int = 1000,
    n_samples: int = 1,
    step_size: float = 1e-2,
    random_state: int = 0,
    device: str | torch.device | None = None,
    progress: bool = False,
) -> Posterior:
    """Fit ``q(s) = prod_k q_k(s_k)`` to the posterior of the sources of mixtures.

    Adam ascends the ELBO, ``E_q[log p(m | s) + sum_k log p(s_k) - log q_k(s_k)]``, where m has
    noise of deviation `sigma`. Gradients go through the samples (inverse CDF).

    Args:
        mixtures: ``(n,)`` or ``(B, n)``, as for `langevin.separate`.
        prior, sigma, weights, bounds: see `Model`.
        n_steps: steps of Adam; its step size falls to zero along a half cosine.
        n_samples: samples of q per step.
        step_size: of Adam, at first.
        random_state: seed of the samples.
        device: as for `langevin.separate`.
        progress: show a progress bar.

    Returns:
        A `Posterior`; ``mean`` is ``(S, n)`` for one mixture, NumPy for NumPy.

    Raises:
        ValueError: shapes or numbers that do not fit.
        FloatingPointError: the ELBO is no longer finite.

    Source: Frank (thesis, 2020); docs/method.md, Relatives.

    Example:
        >>> from dds_fast.methods.priors import GaussianPrior
        >>> prior = GaussianPrior(torch.zeros(2, 3), 0.04 * torch.eye(3).repeat(2, 1, 1))
        >>> posterior = separate(np.full(3, 0.4), prior, sigma=0.1, n_steps=300)
        >>> bool(np.abs(posterior.mean - 0.4 * 0.04 / 0.09).max() < 0.05)
        True
    """
    n_steps = scalars.integer("n_steps", n_steps, least=1)
    n_samples = scalars.integer("n_samples", n_samples, least=1)
    step_size = scalars.positive("step_size", step_size)
    random_state = scalars.integer("random_state", random_state)
    model = Model(prior, sigma, weights, bounds)
    m = as_mixtures(mixtures, prior, device)
    q = model.start(m)
    ascent = Ascent((q.mean.requires_grad_(), q.log_sigma.requires_grad_()), step_size, n_steps)
    generator = torch.Generator(m.device).manual_seed(random_state)
    history = []
    for step in bar(range(1, n_steps + 1), shown=progress, unit="step"):
        with advised(step, step_size):
            elbo = model.elbo(q, m, n_samples, generator)
        ascent.step(elbo.sum())
        history.append(elbo.detach().cpu())
    return posterior_of(mixtures, prior, q, torch.stack(history))


@contextmanager
def advised(step: int, step_size: float) -> Iterator[None]:
    """What to do about a bound that is no longer finite.

    Example:
        >>> with advised(7, 0.01):
        ...     raise FloatingPointError("no longer finite")
        Traceback (most recent call last):
        FloatingPointError: no longer finite in step 7; lower the step size (0.01)
    """
    try:
        yield
    except FloatingPointError as error:
        message = f"{error} in step {step}; lower the step size ({step_size:g})"
        raise FloatingPointError(message) from None


def posterior_of(mixtures: Any, prior: Prior, q: TruncatedGaussian, elbo: Tensor) -> Posterior:
    """What is handed back of ``(S, B, n)`` q: arrays as the mixtures are, ``(S, n)`` for one.

    Example:
        >>> from dds_fast.methods.priors import GaussianPrior
        >>> prior = GaussianPrior(torch.zeros(2, 3), torch.eye(3).repeat(2, 1, 1))
        >>> q = TruncatedGaussian(torch.zeros(2, 1, 3), torch.zeros(2, 1, 3))
        >>> posterior_of(np.ones(3), prior, q, torch.zeros(5, 1)).mean.shape
        (2, 3)
    """
    kind = Kind.of(mixtures)
    mean, deviation = q.mean.detach().clamp(*q.bounds), q.log_sigma.detach().exp()
    if np.ndim(mixtures) == 1:
        mean, deviation = mean[:, 0], deviation[:, 0]
    parts = kind.give_back(mean), kind.give_back(deviation), elbo.double().numpy()
    return Posterior(names_of(prior), *parts)
