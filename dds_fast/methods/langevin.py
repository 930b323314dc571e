"""Sources by sampling from their posterior: annealed Langevin dynamics given the mixture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from dds_fast import arrays, scalars
from dds_fast.arrays import Kind
from dds_fast.flows import ConditionalGlow
from dds_fast.methods.priors import BankPrior, GlowPrior, Prior
from dds_fast.progress import bar
from dds_fast.separation import Separation

if TYPE_CHECKING:
    from dds_fast.dictionary import Dictionary

STEP_SIZE = 3e-5
N_STEPS = 100


class Score(Protocol):
    """What the sampler needs of a prior; `methods.priors.Prior` has it.

    Example:
        >>> class Standard:  # normal, for two sources
        ...     n_sources = 2
        ...     def score(self, s: Tensor) -> Tensor:
        ...         return -s
        >>> separate(np.full(3, 5.0), Standard()).stems.shape
        (2, 3)
    """

    n_sources: int

    def score(self, s: Tensor) -> Tensor: ...


def noise_levels(
    n_levels: int = 10, highest: float = 1.0, lowest: float = 0.01
) -> tuple[float, ...]:
    """Geometric noise levels, the highest first.

    Example:
        >>> [round(level, 4) for level in noise_levels(4)]
        [1.0, 0.2154, 0.0464, 0.01]
    """
    return tuple(float(level) for level in np.geomspace(highest, lowest, n_levels))


@arrays.isolated()
def separate(
    mixtures: Any,
    prior: Score | Sequence[Score],
    *,
    weights: Sequence[float] | None = None,
    levels: Sequence[float] | None = None,
    n_steps: int = N_STEPS,
    step_size: float = STEP_SIZE,
    bounds: tuple[float, float] | None = None,
    clamp_every_step: bool = False,
    initial: Any = None,
    random_state: int = 0,
    device: str | torch.device | None = None,
    progress: bool = False,
) -> Separation:
    """Draw the sources of mixtures ``m = sum_k weights_k s_k`` from their posterior.

    At noise level sigma the posterior is ``prod_k p(s_k) N(m; sum_k weights_k s_k, sigma^2 I)``;
    each step moves all sources of all mixtures together,

        s_k += eta [score_k(s_k) - weights_k (sum_j weights_j s_j - m) / sigma^2]
               + sqrt(2 eta) noise

    with ``eta = step_size (sigma / lowest sigma)^2``. Each level starts where the last one ended.

    Args:
        mixtures: ``(n,)`` or ``(B, n)``; waveforms or, one per row, spectral frames.
        prior: what has ``n_sources`` and ``score(s)`` of ``(S, B, n)`` sources; or a sequence with
            one prior per level, made for sources with noise of that level.
        weights: S weights of the sources in the mixture; by default all 1.
        levels: noise levels, the last and lowest one is the noise of the mixture; by default
            `noise_levels()`, ten from 1 to 0.01.
        n_steps: steps per level.
        step_size: eta at the last level.
        bounds: range of the data, to which the samples are clamped at the end.
        clamp_every_step: clamp after every step already.
        initial: ``(S, n)`` or ``(S, B, n)`` to start from; by default standard normal.
        random_state: seed of the start and the noise.
        device: by default that of a tensor `mixtures`, else that of the prior's parameters. The
            prior must lie on it.
        progress: show a progress bar.

    Returns:
        A `Separation` whose `stems` are ``(S, n)`` or ``(S, B, n)`` sources, one sample per
        mixture; NumPy for NumPy, of the mixtures' floating dtype. Computed in the dtype of the
        prior's parameters, if it has any. Named as the prior's sources, else numbered.

    Raises:
        ValueError: shapes or numbers that do not fit, mixtures that are not finite, steps so large
            that the mixing constraint alone makes them diverge.
        FloatingPointError: the samples are no longer finite; says at which level and step.

    Source: Jayaram and Thickstun, Source Separation with Deep Generative Priors (BASIS, 2020);
    Frank (thesis, 2020), whose signs and noise factor are corrected here; docs/method.md,
    Relatives.

    Example:
        >>> from dds_fast.methods.priors import GaussianPrior
        >>> covariance = torch.stack([torch.eye(3), 9 * torch.eye(3)])
        >>> prior = GaussianPrior(torch.zeros(2, 3), covariance)
        >>> sources = separate(np.full(3, 5.0), prior).stems
        >>> sources.shape, bool(np.abs(sources.sum(0) - 5).max() < 0.2)
        ((2, 3), True)
    """
    levels = noise_levels() if levels is None else tuple(levels)
    priors = list(prior) if isinstance(prior, Sequence) else [prior] * len(levels)
    levels = [scalars.real("levels", level) for level in levels]
    n_steps = scalars.integer("n_steps", n_steps, least=1)
    step_size = scalars.positive("step_size", step_size)
    random_state = scalars.integer("random_state", random_state)
    bounds = None if bounds is None else scalars.pair("bounds", bounds)
    S = _check(levels, priors)
    kind, m = Kind.of(mixtures), as_mixtures(mixtures, priors[0], device)
    alpha = as_weights(weights, S)
    stiffness = step_size / levels[-1] ** 2 * float(alpha.square().sum())
    if stiffness >= 2:
        raise ValueError(
            f"step_size {step_size:g} makes the mixing constraint of {S} sources diverge: "
            f"step_size sum(weights^2) / lowest level^2 is {stiffness:.3g} and must be below 2"
        )
    alpha = alpha.to(m)[:, None, None]
    generator = torch.Generator(m.device).manual_seed(random_state)
    s = _start(initial, S, m, generator)
    with bar(total=len(levels) * n_steps, shown=progress, unit="step") as shown:
        for level, level_prior in zip(levels, priors, strict=True):
            eta = step_size * (level / levels[-1]) ** 2
            for step in range(1, n_steps + 1):
                residual = (alpha * s).sum(0) - m
                drift = level_prior.score(s).detach() - alpha * residual / level**2
                noise = torch.randn(s.shape, generator=generator, dtype=s.dtype, device=s.device)
                s = s + eta * drift + (2 * eta) ** 0.5 * noise
                if bounds is not None and clamp_every_step:
                    s = s.clamp(*bounds)
                shown.update()
                if step % 10 == 0 or step == n_steps:
                    _check_finite(s, level, step)
                    shown.set_postfix_str(f"level {level:.3g}")
    if bounds is not None:
        s = s.clamp(*bounds)
    if np.ndim(mixtures) == 1:
        s = s[:, 0]
    return Separation(names_of(priors[0]), kind.give_back(s))


def names_of(prior: Score) -> Sequence[int | str]:
    """Those of a prior's sources, else their numbers.

    Example:
        >>> from dds_fast.methods.priors import GaussianPrior
        >>> names_of(GaussianPrior(torch.zeros(2, 3), torch.eye(3).expand(2, 3, 3)))
        range(0, 2)
    """
    return getattr(prior, "sources", None) or range(prior.n_sources)


def _check(levels: Sequence[float], priors: Sequence[Score]) -> int:
    """The number of sources, if all settings fit together."""
    if not levels or min(levels) <= 0:
        raise ValueError(f"levels must be finite and positive, not {levels!r}")
    if len(priors) != len(levels):
        raise ValueError(f"{len(priors)} priors for {len(levels)} levels; give one, or one each")
    numbers = {prior.n_sources for prior in priors}
    if len(numbers) > 1:
        raise ValueError(f"the priors of the levels have different numbers of sources: {numbers}")
    return numbers.pop()


def as_mixtures(mixtures: Any, prior: Any, device: str | torch.device | None) -> Tensor:
    """``(B, n)``, on the device asked for, else a tensor's, else the prior's; of its dtype.

    Example:
        >>> as_mixtures(np.zeros(3), prior=None, device="cpu").shape
        torch.Size([1, 3])
    """
    m = arrays.as_tensor("mixtures", mixtures)
    if m.ndim not in (1, 2) or m.numel() == 0:
        raise ValueError(f"mixtures must be (n,) or (B, n), not {tuple(m.shape)}")
    if not m.is_floating_point():
        raise ValueError(f"mixtures must be floating, not {m.dtype}")
    if not torch.isfinite(m).all():
        raise ValueError(f"the mixtures hold {int((~torch.isfinite(m)).sum())} NaN or infinities")
    own = Kind.of(mixtures).device
    if isinstance(prior, torch.nn.Module):
        example = next((t for t in prior.parameters()), next(iter(prior.buffers()), None))
        if example is not None:
            m, own = m.to(example.dtype), own or example.device
    return torch.atleast_2d(m.to(arrays.device(device, own or m.device)))


def as_weights(weights: Sequence[float] | None, n_sources: int) -> Tensor:
    """``(S,)`` float64 weights of the sources in a mixture, by default all 1.

    Example:
        >>> as_weights(None, 2)
        tensor([1., 1.], dtype=torch.float64)
    """
    if weights is None:
        return torch.ones(n_sources, dtype=torch.float64)
    alpha = arrays.as_tensor("weights", weights, torch.float64)
    if alpha.shape != (n_sources,) or not torch.isfinite(alpha).all():
        raise ValueError(
            f"weights must be {n_sources} finite numbers, one per source, not {weights!r}"
        )
    return alpha


def _start(initial: Any, S: int, m: Tensor, generator: torch.Generator) -> Tensor:
    if initial is None:
        return torch.randn((S, *m.shape), generator=generator, dtype=m.dtype, device=m.device)
    s = arrays.as_tensor("initial", initial, m.dtype, m.device)
    if s.shape == (S, m.shape[-1]) and len(m) == 1:
        s = s[:, None]
    if s.shape != (S, *m.shape):
        raise ValueError(f"initial must be {(S, *m.shape)}, not {tuple(s.shape)}")
    return s


def _check_finite(s: Tensor, level: float, step: int) -> None:
    if not torch.isfinite(s).all():
        bad = int((~torch.isfinite(s)).flatten(1).any(1).nonzero()[0])
        raise FloatingPointError(
            f"the samples of source {bad} are no longer finite at level {level:.3g}, step {step}: "
            "its prior's score is too steep for the step size there (lower step_size, give priors "
            "made for the noise of each level, or bounds with clamp_every_step)"
        )


def frame_prior(dictionary: Dictionary, sources: Sequence[int | str] | None = None) -> Prior:
    """A dictionary's flows as the prior of its sources' spectral frames.

    Frames add up in the log-compressed domain of the dictionary's spectrogram, as in every
    decomposition here: each row of the mixtures is one column of X.

    Args:
        dictionary: of kind "dds1", "dds2" or "dds3".
        sources: which of its sources, in this order; by default all.

    Raises:
        ValueError: the dictionary has no flow, or not these sources.

    Example:
        >>> from dds_fast import Dictionary
        >>> from dds_fast.flows import RealNVPBank
        >>> bank = RealNVPBank(3, 8, n_steps=2, width=4, depth=1)
        >>> prior = frame_prior(Dictionary.from_flow(bank, (60, 64, 67)), (67, 60))
        >>> prior.n_sources
        2
    """
    if dictionary.flow is None:
        raise ValueError(f"a {dictionary.kind!r} dictionary has no flow to take as a prior")
    sources = dictionary.sources if sources is None else tuple(sources)
    missing = [source for source in sources if source not in dictionary.sources]
    if missing:
        raise ValueError(f"the dictionary has no source {missing[0]!r}")
    chosen = [dictionary.sources.index(source) for source in sources]
    prior: Prior
    if isinstance(dictionary.flow, ConditionalGlow):
        prior = GlowPrior(dictionary.flow, chosen)
    else:
        prior = BankPrior(dictionary.flow.select(chosen))
    prior.sources = sources
    return prior
