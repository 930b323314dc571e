"""Sources by an amortised posterior: a network that has learned it for all mixtures of a kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dds_fast import arrays, scalars
from dds_fast.flows.flowavenet import WaveNet
from dds_fast.methods.langevin import as_mixtures
from dds_fast.methods.priors import Prior
from dds_fast.methods.variational import (
    Ascent,
    Model,
    Posterior,
    TruncatedGaussian,
    advised,
    posterior_of,
)
from dds_fast.progress import bar

MAX_NORM = 1.0
"""Of the gradient of the mean ELBO per entry of a source: outliers of few samples are cut."""


class MixtureNet(nn.Module):
    """A WaveNet over the entries of a mixture: what `learn` takes for waveforms.

    Args:
        n_sources: S.
        width: channels.
        n_layers: gated layers, dilated by 1, 2, 4, ...

    Example:
        >>> MixtureNet(2)(torch.zeros(5, 64)).shape
        torch.Size([5, 4, 64])
    """

    def __init__(self, n_sources: int, width: int = 32, n_layers: int = 8) -> None:
        super().__init__()
        self.net = WaveNet(1, 1, 2 * n_sources, width, n_layers)

    def forward(self, m: Tensor) -> Tensor:
        return self.net(m[:, None, None])[:, 0]


@dataclass(eq=False)
class AmortisedPosterior:
    """``q(s | m)`` for any mixture m: truncated Gaussians whose parameters a network reads from m.

    Make one with `learn`.

    Attributes:
        network: maps ``(B, n)`` mixtures to ``(B, 2 S, n)``: what is added to the means and to the
            logarithms of the deviations with which the fit of `variational.separate` begins. It
            may come flat, ``(B, 2 S n)``.
        model: what it was fitted to.
        history: ``(n_steps,)`` mean ELBO of the batches in nats.

    Example:
        >>> from dds_fast.methods.priors import GaussianPrior
        >>> prior = GaussianPrior(torch.zeros(2, 8), torch.eye(8).repeat(2, 1, 1))
        >>> q = AmortisedPosterior(MixtureNet(2), Model(prior, sigma=0.1))  # not learned yet
        >>> q.separate(np.full((3, 8), 0.5)).mean[:, 0, 0]
        array([0.25, 0.25])
    """

    network: nn.Module
    model: Model
    history: np.ndarray = field(default_factory=lambda: np.empty(0))

    def __call__(self, m: Tensor) -> TruncatedGaussian:
        """``(S, B, n)`` Gaussians of ``(B, n)`` mixtures."""
        q, S = self.model.start(m), self.model.prior.n_sources
        shift, log_scale = self.network(m).view(len(m), 2, S, -1).permute(1, 2, 0, 3)
        return TruncatedGaussian(q.mean + shift, q.log_sigma + log_scale, q.bounds)

    @arrays.isolated()
    @torch.no_grad()
    def separate(self, mixtures: Any, *, n_samples: int = 16, random_state: int = 0) -> Posterior:
        """The posteriors of mixtures in one pass, without a fit.

        Args:
            mixtures: ``(n,)`` or ``(B, n)``, as for `variational.separate`.
            n_samples: samples for the ELBO of each.
            random_state: their seed.

        Returns:
            A `Posterior` whose `elbo` has one row.

        Raises:
            ValueError: shapes or numbers that do not fit.
            FloatingPointError: an ELBO is not finite.
        """
        n_samples = scalars.integer("n_samples", n_samples, least=1)
        random_state = scalars.integer("random_state", random_state)
        own = next(self.network.parameters(), None)
        device = None if own is None else own.device
        m = as_mixtures(mixtures, self.model.prior, device)
        m = m if own is None else m.to(own.dtype)
        generator = torch.Generator(m.device).manual_seed(random_state)
        q = self(m)
        elbo = self.model.elbo(q, m, n_samples, generator)
        return posterior_of(mixtures, self.model.prior, q, elbo[None].cpu())


@arrays.isolated()
def learn(
    mixtures: Any,
    prior: Prior,
    *,
    sigma: float,
    network: nn.Module | None = None,
    weights: Sequence[float] | None = None,
    bounds: tuple[float, float] = (-1.0, 1.0),
    n_steps: int = 1000,
    batch_size: int = 16,
    n_samples: int = 1,
    step_size: float = 1e-3,
    random_state: int = 0,
    device: str | torch.device | None = None,
    progress: bool = False,
) -> AmortisedPosterior:
    """Learn to infer the sources of mixtures of a kind, from mixtures alone.

    Adam ascends the mean ELBO of batches of the mixtures: `variational.separate` with the
    parameters of a network in place of those of each mixture.

    Args:
        mixtures: ``(N, n)`` examples, drawn from with replacement.
        prior, sigma, weights, bounds: see `variational.Model`.
        network: see `AmortisedPosterior`; trained in place. By default a `MixtureNet`, for
            waveforms; for spectral frames, whose bins differ, take linear layers.
        n_steps: steps of Adam; its step size falls to zero along a half cosine.
        batch_size: mixtures per step.
        n_samples: samples of q per mixture and step.
        step_size: of Adam, at first.
        random_state: seed of a new network, of the batches and the samples.
        device: as for `langevin.separate`.
        progress: show a progress bar.

    Raises:
        ValueError: shapes or numbers that do not fit.
        FloatingPointError: the ELBO is no longer finite.

    Source: Frank (thesis, 2020); docs/method.md, Relatives.

    Example:
        >>> from dds_fast.methods.priors import GaussianPrior
        >>> prior = GaussianPrior(torch.zeros(2, 4), 0.04 * torch.eye(4).repeat(2, 1, 1))
        >>> mixtures = 0.3 * np.random.default_rng(0).standard_normal((200, 4))
        >>> q = learn(mixtures, prior, sigma=0.1, network=torch.nn.Linear(4, 16), step_size=0.01)
        >>> posterior = q.separate(np.full(4, 0.4))
        >>> bool(np.abs(posterior.mean - 0.4 * 0.04 / 0.09).max() < 0.05)
        True
    """
    n_steps = scalars.integer("n_steps", n_steps, least=1)
    batch_size = scalars.integer("batch_size", batch_size, least=1)
    n_samples = scalars.integer("n_samples", n_samples, least=1)
    step_size = scalars.positive("step_size", step_size)
    random_state = scalars.integer("random_state", random_state)
    model = Model(prior, sigma, weights, bounds)
    m = as_mixtures(mixtures, prior, device)
    if network is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_state)
            network = MixtureNet(prior.n_sources)
    posterior = AmortisedPosterior(network.to(m), model)
    ascent = Ascent(network.parameters(), step_size, n_steps)
    generator = torch.Generator(m.device).manual_seed(random_state)
    n_entries = prior.n_sources * m.shape[1]
    history = []
    for step in bar(range(1, n_steps + 1), shown=progress, unit="step"):
        chosen = torch.randint(len(m), (batch_size,), generator=generator, device=m.device)
        batch = m[chosen]
        with advised(step, step_size):
            elbo = model.elbo(posterior(batch), batch, n_samples, generator).mean()
        ascent.step(elbo / n_entries, MAX_NORM)
        history.append(elbo.detach())
    posterior.history = torch.stack(history).double().cpu().numpy()
    return posterior
