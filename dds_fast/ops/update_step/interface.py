"""What a decomposition is to a backend: a problem, and a step that advances it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from dds_fast.ops.frozen import FrozenFlow
from dds_fast.ops.update_step.schedule import Controller, Schedule

LIKELIHOODS = ("latent", "data")


@dataclass(frozen=True, eq=False)
class Problem:
    """Minimise the objective over activations H and, where a flow is given, latent codes Z.

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
        if (self.W is None) == (self.flow is None):
            raise ValueError("a problem has either a fixed dictionary W or a flow")
        if self.likelihood not in LIKELIHOODS:
            raise ValueError(f"likelihood must be one of {LIKELIHOODS}, not {self.likelihood!r}")

    @property
    def projected(self) -> bool:
        """Whether H is clipped after each step (NMF) rather than its gradient masked."""
        return self.flow is None


@dataclass(frozen=True, eq=False)
class State:
    """Where a decomposition stands.

    Attributes:
        W: clipped dictionary, ``(F, J)`` or ``(S, F, T)``.
        H: ``(J, T)`` clipped activations.
        log_likelihoods: ``(J,)`` or ``(S, T)`` nats per dimension, None for a fixed dictionary.
    """

    W: Tensor
    H: Tensor
    log_likelihoods: Tensor | None


class UpdateStep(ABC):
    """One decomposition in progress: its variables, optimizer moments, stash and counters.

    Z changes once per step, so one decode serves the H half-step, the cost that the schedule
    watches, and (through its stash) the next Z half-step: one forward and one backward of the
    flow per update step.
    """

    controller: Controller
    stride: int = 1
    """Update steps to ask for at once where nobody looks at each of them."""

    @abstractmethod
    def __init__(self, problem: Problem, schedule: Schedule, precision: str) -> None:
        """Decode the initial latents and evaluate the initial cost."""

    @abstractmethod
    def advance(self, n_steps: int = 1) -> None:
        """Do up to `n_steps` update steps, fewer if `controller.stop_reason` is set."""

    @abstractmethod
    def state(self) -> State:
        """The current dictionary and activations."""
