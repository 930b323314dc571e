"""What is to be found: a spectrogram, a dictionary and where to begin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dds_fast import scalars
from dds_fast.arrays import plain
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
        X: ``(F, T)`` spectrogram, float32 or float64 as all tensors of a problem.
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

    Raises:
        ValueError: tensors that do not fit together, illegal numbers, a negative X or W.

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
        checked = _dictionary(self)
        F, T = checked["X"].shape
        checked["H"] = _tensor("H", self.H, ("J", T), checked["X"]).contiguous()
        J = len(self.H)
        if scalars.flag("per_frame", self.per_frame):
            _tensor("Z", self.Z, (J, T, F))
        elif self.flow is None:
            _tensor("W", self.W, (F, J))
        elif checked["Z"].shape[:2].numel() != J:
            shape = tuple(checked["Z"].shape)
            raise ValueError(f"Z {shape} has not a row for each of {J} rows of H")
        for name in ("epsilon", "penalty", "sparsity"):
            checked[name] = scalars.not_negative(name, getattr(self, name))
        if checked["penalty"] and not checked["epsilon"]:
            raise ValueError("epsilon must be positive where there is a penalty: H may be silent")
        self.__dict__.update(checked)  # frozen, but plain from here on

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

    Raises:
        ValueError: tensors that do not fit together, illegal numbers, a negative X or W.

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
        checked = _dictionary(self)
        S = checked["n_sources"] = scalars.integer("n_sources", self.n_sources, 1, 1 << 20)
        J = checked["W"].shape[1] if self.flow is None else checked["Z"].shape[:2].numel()
        labels = checked["labels"] = plain("labels", self.labels).contiguous()
        if labels.shape != (J,) or labels.dtype != torch.int64 or labels.device != self.X.device:
            raise ValueError(
                f"labels must be ({J},) int64 on {self.X.device}, not {tuple(labels.shape)} "
                f"{labels.dtype} on {labels.device}"
            )
        if not bool(((labels >= 0) & (labels < S)).all() & (labels.diff() >= 0).all()):
            raise ValueError(f"labels must ascend within 0..{S - 1}")
        if self.flow is not None and self.flow.n_groups > 1:
            own = torch.arange(S, device=labels.device).repeat_interleave(J // self.flow.n_groups)
            if self.flow.n_groups != S or not torch.equal(labels, own):
                raise ValueError(f"a bank of {self.flow.n_groups} flows has one for each source")
        self.__dict__.update(checked)  # frozen, but plain from here on


AnyProblem = Problem | StagedProblem


def _dictionary(problem: AnyProblem) -> dict[str, Any]:
    """X and what explains it, as engines take them: they hand addresses over, and check no more."""
    W, flow, Z = problem.W, problem.flow, problem.Z
    if (W is None) == (flow is None):
        raise ValueError("a problem has either a fixed dictionary W or a flow")
    if (Z is None) != (flow is None):
        raise ValueError("a problem has codes Z where it has a flow, and only there")
    if problem.likelihood not in LIKELIHOODS:
        raise ValueError(f"likelihood must be one of {LIKELIHOODS}, not {problem.likelihood!r}")
    X = _tensor("X", problem.X, ("F", "T"))
    if X.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"X must be float32 or float64, not {X.dtype}")
    F = len(X)
    most_fixed = 0 if flow is None else F - 1
    checked: dict[str, Any] = {
        "X": _not_negative("X", X),
        "n_fixed": scalars.integer("n_fixed", problem.n_fixed, 0, most_fixed),
    }
    if flow is None:
        return checked | {"W": _not_negative("W", _tensor("W", W, (F, "J"), X))}
    if (flow.dtype, flow.device, flow.n_features) != (X.dtype, X.device, F):
        raise ValueError(
            f"the flow is {flow.dtype} on {flow.device} with F={flow.n_features}, X is {X.dtype} "
            f"on {X.device} with F={F}"
        )
    return checked | {"Z": _tensor("Z", Z, (flow.n_groups, "R", F), X).contiguous()}


def _tensor(
    name: str, tensor: Any, shape: tuple[int | str, ...], X: Tensor | None = None
) -> Tensor:
    """A plain tensor of a shape, in which words stand for any size from 1 on; of X's kind."""
    tensor = plain(name, tensor).detach()
    sizes = zip(tensor.shape, shape, strict=False)
    fits = all(n > 0 if isinstance(size, str) else n == size for n, size in sizes)
    if tensor.ndim != len(shape) or not fits:
        wanted = ", ".join(map(str, shape))
        raise ValueError(f"{name} must be ({wanted}), not {tuple(tensor.shape)}")
    if X is not None and (tensor.dtype, tensor.device) != (X.dtype, X.device):
        raise ValueError(
            f"{name} is {tensor.dtype} on {tensor.device}, X is {X.dtype} on {X.device}"
        )
    return tensor


def _not_negative(name: str, tensor: Tensor) -> Tensor:
    """The tensor; NaN in it is not refused: it stops a search."""
    if float(tensor.min()) < 0:
        raise ValueError(f"{name} holds negative values")
    return tensor


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
