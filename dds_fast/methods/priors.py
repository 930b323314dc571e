"""Densities of sources as samplers take them: log p(s) and its gradient, for all sources."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from dds_fast import arrays, scalars
from dds_fast.flows.flowavenet import FloWaveNetBank
from dds_fast.flows.glow import ConditionalGlow
from dds_fast.flows.realnvp import RealNVPBank
from dds_fast.flows.training.losses import SEMANTIC_VARIANCE, log_density

FLOOR = -1000.0
"""Nats per dimension below which a likelihood counts as this much (docs/method.md, Relatives)."""


class Prior(nn.Module):
    """Independent densities of S sources. A prior of your own defines `parts` or `log_prob`.

    Samplers only need ``n_sources`` and ``score``, so any object that has both will do.

    Attributes:
        n_sources: S.
        sources: their names, if they have any.

    Example:
        >>> class Laplace(Prior):
        ...     n_sources = 2
        ...     def log_prob(self, s: Tensor) -> Tensor:
        ...         return -s.abs().sum(-1)
        >>> Laplace().score(torch.tensor([[[1.0, -2.0]], [[3.0, 4.0]]]))[0]
        tensor([[-1.,  1.]])
    """

    n_sources: int
    sources: tuple[int | str, ...] | None = None

    def parts(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """The terms of `log_prob`: log-density of the latent code, and log-determinant."""
        raise NotImplementedError

    def log_prob(self, s: Tensor) -> Tensor:
        """``(S, B)`` nats of ``(S, B, n)`` sources."""
        latent, log_det = self.parts(s)
        return latent + log_det

    def score(self, s: Tensor) -> Tensor:
        """``(S, B, n)`` gradient of `log_prob` to the sources, by autograd."""
        with torch.enable_grad():
            s = s.detach().requires_grad_()
            return torch.autograd.grad(self.log_prob(s).sum(), s)[0]


class GaussianPrior(Prior):
    """A Gaussian per source: what samplers can be checked with.

    Args:
        mean: ``(S, n)``.
        covariance: ``(S, n, n)``, positive definite.

    Example:
        >>> prior = GaussianPrior(torch.zeros(2, 3), torch.eye(3).repeat(2, 1, 1))
        >>> prior.score(torch.ones(2, 1, 3))[0]
        tensor([[-1., -1., -1.]])
    """

    mean: Tensor
    covariance: Tensor
    root: Tensor
    precision: Tensor

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        super().__init__()
        if covariance.shape != (*mean.shape, mean.shape[-1]):
            raise ValueError(
                f"the covariance {tuple(covariance.shape)} of means {tuple(mean.shape)} must be "
                f"{(*mean.shape, mean.shape[-1])}"
            )
        self.n_sources = len(mean)
        self.register_buffer("mean", mean)
        self.register_buffer("covariance", covariance)
        self.register_buffer("root", torch.linalg.cholesky(covariance))
        self.register_buffer("precision", torch.cholesky_inverse(self.root))

    def noised(self, sigma: float) -> GaussianPrior:
        """The density of sources with white noise of standard deviation `sigma`."""
        identity = torch.eye(self.mean.shape[-1], dtype=self.mean.dtype, device=self.mean.device)
        return GaussianPrior(self.mean, self.covariance + sigma**2 * identity)

    def parts(self, s: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.linalg.solve_triangular(
            self.root, (s - self.mean[:, None]).transpose(1, 2), upper=False
        )
        log_det = -self.root.diagonal(dim1=1, dim2=2).log().sum(-1)
        return log_density(z.transpose(1, 2)), log_det[:, None].expand(s.shape[:2])

    def score(self, s: Tensor) -> Tensor:
        return (self.mean[:, None] - s) @ self.precision


class BankPrior(Prior):
    """A flow per source: a `RealNVPBank` on spectral frames, a `FloWaveNetBank` on windows.

    Args:
        bank: its parameters are shared, not copied.

    Example:
        >>> prior = BankPrior(RealNVPBank(2, 8, n_steps=2, width=4, depth=1))
        >>> s = torch.rand(2, 5, 8)
        >>> prior.log_prob(s).shape, prior.score(s).shape
        (torch.Size([2, 5]), torch.Size([2, 5, 8]))
    """

    def __init__(self, bank: RealNVPBank | FloWaveNetBank) -> None:
        super().__init__()
        self.bank = bank
        self.n_sources = bank.n_sources

    def parts(self, s: Tensor) -> tuple[Tensor, Tensor]:
        if isinstance(self.bank, FloWaveNetBank):
            return self.bank.densities(s)
        z, log_det = self.bank.encode(s)
        return log_density(z), log_det


class GlowPrior(Prior):
    """The class-conditional densities of a `ConditionalGlow`: ``z_s`` close to the one-hot code.

    Args:
        glow: its parameters are shared, not copied.
        classes: indices of the sources wanted; by default all.

    Example:
        >>> prior = GlowPrior(ConditionalGlow(3, 8, n_steps=2, width=4, depth=1), classes=[2, 0])
        >>> prior.n_sources, prior.log_prob(torch.rand(2, 5, 8)).shape
        (2, torch.Size([2, 5]))
    """

    codes: Tensor

    def __init__(self, glow: ConditionalGlow, classes: Sequence[int] | None = None) -> None:
        super().__init__()
        self.glow = glow
        chosen = torch.arange(glow.n_sources) if classes is None else torch.as_tensor(classes)
        self.n_sources = len(chosen)
        codes = nn.functional.one_hot(chosen, glow.n_sources)
        self.register_buffer("codes", codes.to(glow.steps[0].mixing.factors))

    def parts(self, s: Tensor) -> tuple[Tensor, Tensor]:
        z, log_det = self.glow.encode(s.flatten(0, 1))
        semantic, nuisance = z.unflatten(0, s.shape[:2]).tensor_split([self.glow.n_sources], dim=-1)
        deviation = SEMANTIC_VARIANCE**0.5
        semantic = (semantic - self.codes[:, None]) / deviation
        latent = log_density(semantic) - self.glow.n_sources * math.log(deviation)
        return latent + log_density(nuisance), log_det.unflatten(0, s.shape[:2])


@arrays.isolated()
@torch.no_grad()
def cross_likelihood(
    prior: Prior, clips: Tensor, *, log_det: bool = True, floor: float = FLOOR
) -> np.ndarray:
    """How likely each source is under each prior: can the priors tell the sources apart?

    Args:
        prior: of S sources.
        clips: ``(S, R, n)`` examples of the same sources, in the same order.
        log_det: count the log-determinant (the likelihood) or the latent density alone, as the
            thesis does.
        floor: what a clip scores at least, in nats per dimension.

    Returns:
        ``(S, S)`` mean nats per dimension; rows are priors, columns sources.

    Source: Frank (thesis, 2020); docs/method.md, Relatives.

    Example:
        >>> means = torch.tensor([[0.0], [3.0]])
        >>> prior = GaussianPrior(means, torch.ones(2, 1, 1))
        >>> cross_likelihood(prior, means[:, None]).round(2).tolist()
        [[-0.92, -5.42], [-5.42, -0.92]]
    """
    if clips.ndim != 3 or len(clips) != prior.n_sources:
        raise ValueError(
            f"clips must be ({prior.n_sources}, R, n), one row per prior, not {tuple(clips.shape)}"
        )
    floor, columns = scalars.real("floor", floor), []
    for source in clips:
        latent, determinant = prior.parts(source.expand(prior.n_sources, -1, -1))
        nats = (latent + determinant if log_det else latent) / clips.shape[-1]
        # What is not finite is as unlikely as can be.
        columns.append(nats.nan_to_num(nan=floor).clamp_min(floor).mean(-1))
    return torch.stack(columns, dim=1).cpu().double().numpy()
