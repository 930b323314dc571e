"""What is to be found: a spectrogram, a dictionary and where to begin."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dds_fast.choices import LIKELIHOODS
from dds_fast.flows.frozen import FrozenFlow
from dds_fast.search.settings import SearchSettings

EPSILON_SHARED = 1e-3
EPSILON_PER_FRAME = 1e-7
"""Normalisers of the penalty's activation shares: of entries shared by all frames, and of one entry
per source and frame."""


@dataclass(frozen=True, eq=False)
class Problem:
    """For the gradient search: minimise the objective over activations H and, where a flow is
    given, latent codes Z, from where they are.

    Attributes:
        X: ``(F, T)`` spectrogram.
        H: ``(J, T)`` initial activations.
        epsilon: normaliser of the penalty's per-frame activation shares.
        penalty: weight lambda of the likelihood penalty.
        sparsity: weight of the sum of the activations.
        W: ``(F, J)`` fixed non-negative dictionary (NMF); then there is no flow.
        flow: frozen flow of G groups that decodes Z into the dictionary.
        Z: ``(G, R, F)`` initial latent codes; ``G R = J``, or ``R = T`` and ``G = S`` when
            `per_frame`.
        n_fixed: leading latent dims that are held at their initial values (the Glow's z_s) and
            take no part in the likelihood.
        per_frame: one dictionary entry per source and frame (DDS-1).
        likelihood: "latent" (log-density of Z) or "data" (with the log-determinant).

    Example:
        >>> X, W = torch.rand(20, 9), torch.rand(20, 3)
        >>> problem = Problem(X, H=torch.rand(3, 9), epsilon=0.0, W=W)
        >>> problem.projected, problem.flow
        (True, None)
    """

    X: Tensor
    H: Tensor
    epsilon: float
    penalty: float = 0.0
    sparsity: float = 0.0
    W: Tensor | None = None
    flow: FrozenFlow | None = None
    Z: Tensor | None = None
    n_fixed: int = 0
    per_frame: bool = False
    likelihood: str = "latent"

    def __post_init__(self) -> None:
        _check(self.W, self.flow, self.likelihood)

    @property
    def projected(self) -> bool:
        """Whether H is clipped after each step (NMF) rather than its gradient masked."""
        return self.flow is None


@dataclass(frozen=True, eq=False)
class StagedProblem:
    """For the staged search: explain X by entries that begin as a fixed dictionary.

    Attributes:
        X: ``(F, T)`` spectrogram.
        settings: of the staged search.
        n_sources: S.
        labels: ``(J,)`` int64, source of each entry, ascending.
        W: ``(F, J)`` fixed non-negative dictionary (NMF); then there is no flow.
        flow: frozen flow of G groups; a bank has one per source.
        Z: ``(G, R, F)`` latent codes of the entries, ``G R = J``.
        n_fixed: leading latent dims that are held (the Glow's z_s).
        likelihood: "latent" or "data".

    Example:
        >>> from dds_fast.search.settings import DEFAULT
        >>> X, W, labels = torch.rand(20, 9), torch.rand(20, 3), torch.tensor([0, 0, 1])
        >>> StagedProblem(X, DEFAULT["nmf"], n_sources=2, labels=labels, W=W).settings.algorithm
        'staged'
        >>> StagedProblem(X, DEFAULT["dds2"], n_sources=2, labels=labels)
        Traceback (most recent call last):
        ValueError: a problem has either a fixed dictionary W or a flow
    """

    X: Tensor
    settings: SearchSettings
    n_sources: int
    labels: Tensor
    W: Tensor | None = None
    flow: FrozenFlow | None = None
    Z: Tensor | None = None
    n_fixed: int = 0
    likelihood: str = "latent"

    epsilon = EPSILON_SHARED

    def __post_init__(self) -> None:
        _check(self.W, self.flow, self.likelihood)


AnyProblem = Problem | StagedProblem


def _check(W: Tensor | None, flow: FrozenFlow | None, likelihood: str) -> None:
    if (W is None) == (flow is None):
        raise ValueError("a problem has either a fixed dictionary W or a flow")
    if likelihood not in LIKELIHOODS:
        raise ValueError(f"likelihood must be one of {LIKELIHOODS}, not {likelihood!r}")


@dataclass(frozen=True, eq=False)
class State:
    """Where a decomposition stands.

    Attributes:
        W: clipped dictionary, ``(F, J)`` or ``(S, F, T)``.
        H: ``(J, T)`` clipped activations.
        log_likelihoods: ``(J,)`` or ``(S, T)`` nats per dimension, None for a fixed dictionary.
        labels: ``(J,)`` source of each entry, where the search chose the entries; else None.

    Example:
        >>> state = State(W=torch.ones(20, 3), H=torch.ones(3, 9), log_likelihoods=None)
        >>> (state.W @ state.H).shape, state.labels
        (torch.Size([20, 9]), None)
    """

    W: Tensor
    H: Tensor
    log_likelihoods: Tensor | None
    labels: Tensor | None = None


def _random_activations(X: Tensor, n_rows: int, random_state: int) -> Tensor:
    """``U[0, 1) sqrt(mean(X) / rows)``, drawn on the CPU so that devices agree."""
    generator = torch.Generator().manual_seed(random_state)
    H = torch.rand(n_rows, X.shape[1], generator=generator, dtype=torch.float64)
    return H.to(X) * torch.sqrt(X.mean() / n_rows)


def dds_problem(
    X: Tensor,
    flow: FrozenFlow,
    kind: str,
    *,
    n_sources: int,
    n_components: int | None,
    penalty: float,
    sparsity: float = 0.0,
    likelihood: str = "latent",
    random_state: int = 0,
) -> Problem:
    """The search of the DDS paper (section III-B).

    Args:
        X: ``(F, T)`` spectrogram.
        flow: frozen bank of S flows (dds1, dds2) or one Glow (dds3).
        kind: "dds1" (one entry per source and frame), "dds2" (K entries per source from its own
            flow) or "dds3" (K entries per source from one class-conditional flow).
        n_sources: S.
        n_components: K; None for dds1.
        penalty: weight lambda of the likelihood penalty.
        sparsity: weight mu of ``mu / sqrt(T) * sum(H)``, which the paper does not have.
        likelihood: "latent", or "data" with the log-determinant.
        random_state: seed of the initial activations.
    """
    S, F, T = n_sources, flow.n_features, X.shape[1]
    sparsity = sparsity / math.sqrt(T)
    if kind == "dds1":
        return Problem(
            X,
            _random_activations(X, S, random_state),
            epsilon=EPSILON_PER_FRAME,
            penalty=penalty,
            sparsity=sparsity,
            flow=flow,
            Z=X.new_zeros(S, T, F),
            per_frame=True,
            likelihood=likelihood,
        )
    assert n_components is not None
    codes = X.new_zeros(S, n_components, F - (S if kind == "dds3" else 0))
    Z, n_fixed = latent_rows(codes, kind)
    return Problem(
        X,
        _random_activations(X, S * n_components, random_state),
        epsilon=EPSILON_SHARED,
        penalty=penalty,
        sparsity=sparsity,
        flow=flow,
        Z=Z,
        n_fixed=n_fixed,
        likelihood=likelihood,
    )


def nmf_problem(X: Tensor, W: Tensor, sparsity: float = 0.0) -> Problem:
    """The over-complete NMF baseline of the DDS paper, section III-A.

    ``||X - W H||_F`` by Adam on H with projection to ``H >= 0``; H starts at ``1 / N``.

    Args:
        X: ``(F, T)`` spectrogram.
        W: ``(F, N)`` training frames.
        sparsity: weight mu of ``mu / sqrt(T) * sum(H)``, which the paper does not have.
    """
    N = W.shape[1]
    H = X.new_full((N, X.shape[1]), 1 / N)
    return Problem(X, H, epsilon=0.0, W=W, sparsity=sparsity / math.sqrt(X.shape[1]))


def latent_rows(codes: Tensor, kind: str) -> tuple[Tensor, int]:
    """``(S, M, D)`` codes as ``(G, R, F)`` rows of their flow, and how many of its dims are fixed.

    The rows of a class-conditional Glow begin with the one-hot z_s of their source.
    """
    if kind != "dds3":
        return codes, 0
    S, M, _ = codes.shape
    z_s = torch.eye(S, dtype=codes.dtype, device=codes.device).repeat_interleave(M, 0)
    return torch.cat([z_s, codes.flatten(0, 1)], dim=1)[None], S


def log_likelihoods_of(free: Tensor, log_det: Tensor, likelihood: str) -> Tensor:
    """Nats per dimension of codes, ``(..., D)``, and of decode's log-determinant."""
    D = free.shape[-1]
    values = -0.5 * math.log(2 * math.pi) - free.square().sum(-1) / (2 * D)
    return values - log_det / D if likelihood == "data" else values
