"""What the staged search is on every engine: its stages in order, and the rules between them."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
import torch.nn.functional as functional
from torch import Tensor

from dds_fast import arrays
from dds_fast.flows.frozen import FrozenFlow
from dds_fast.search.problem import StagedProblem
from dds_fast.search.schedule import Controller, Schedule
from dds_fast.search.search import Search
from dds_fast.search.settings import SearchSettings

LOOK_EVERY = 10
"""Updates of the activations per step of a stage whose entries stay as they are; and every so many
steps with the codes, weights are made anew and dead entries left out."""

DEAD = 0.03
"""An entry is dead whose activity nowhere exceeds this share of the strongest entry's."""

SILENT = 0.05
"""A source takes no part in the adapted stage whose smoothed activity nowhere exceeds this share of
the strongest source's."""

FAINT = 1e-6
"""Least activation of a chosen entry: an update could not leave zero."""

TINY = 1e-9
"""Added to denominators."""

LAST_STEP = 0.1
"""The step size falls linearly to this share of the initial one."""

LOST = 0.03
"""An adapted stage is lost that ends above the cost of the fixed one by more than this share of the
search's first: codes went to where the flow decodes to no spectrum. A flow of few frames has such
places near its codes."""

SMALLER, MOST_RESTARTS = 0.25, 4
"""A lost stage begins again, with steps of so much the size, so many times at most."""


class Stages(Search):
    """One recording's way through the stages.

    A step is `LOOK_EVERY` updates of the activations, or one step with the codes and the updates
    after it.
    """

    stride = LOOK_EVERY

    def __init__(self, problem: StagedProblem, schedule: Schedule) -> None:
        self.problem, self.schedule = problem, schedule
        self.controllers = [Controller(schedule, stage="fixed")]
        self.most_steps = schedule.max_steps
        self.n_fixed = min(-(-problem.settings.fixed_updates // LOOK_EVERY), self.most_steps)
        self.n_adapted = self.most_steps - self.n_fixed
        self.adapts = problem.flow is not None and problem.settings.adapt
        self.step_size, self.n_restarts = schedule.step_size, 0
        self.chosen: Chosen | None = None

    @arrays.isolated()
    def advance(self, n_steps: int = 1) -> None:
        """Up to `n_steps` steps, of one stage after the other."""
        controller = self.controller
        while n_steps > 0 and controller.stop_reason is None:
            step = len(controller.history) - 1
            n_left = (self.n_fixed if step < self.n_fixed else self.most_steps) - step
            n = min(n_steps, n_left)
            for cost in self._steps(step, n) if n else []:
                controller.record(cost)
            if controller.stop_reason is None and len(controller.history) > self.most_steps:
                controller.stop_reason = "max_steps"
            n_steps -= n

    def _steps(self, first: int, n: int) -> list[float]:
        """Costs of some steps of one stage."""
        controller = self.controller
        if first < self.n_fixed:
            n_all = self.problem.settings.fixed_updates
            n_updates = [min(LOOK_EVERY, n_all - i * LOOK_EVERY) for i in range(first, first + n)]
            return self._steps_fixed(n_updates, reweighted=False)
        first -= self.n_fixed
        if not self.adapts:
            controller.stage = "reweighted"
            return self._steps_fixed([LOOK_EVERY] * n, reweighted=True)
        controller.stage = "adapted"
        if self.chosen is None:
            self.chosen = self._choose()
            self._adapt(*self.chosen)
        falling = [1 - (1 - LAST_STEP) * step / self.n_adapted for step in range(first, first + n)]
        step_sizes = [self.step_size * share for share in falling]
        controller.step_size = step_sizes[-1]
        costs = self._steps_adapted(first, step_sizes)
        if self.n_restarts < MOST_RESTARTS and self._is_lost(first + len(costs), costs[-1]):
            self.n_restarts += 1
            self.step_size *= SMALLER
            del controller.history[self.n_fixed + 1 :]
            self._adapt(*self.chosen)
            return []
        return costs

    def _is_lost(self, n_steps: int, cost: float) -> bool:
        """Whether the adapted stage is, that after so many steps has such a cost."""
        history = self.controller.history
        most = history[self.n_fixed] + LOST * abs(history[0])
        # Fewer steps need not make up for what the choice costs.
        is_judged = n_steps == self.n_adapted >= LOOK_EVERY
        return not math.isfinite(cost) or (is_judged and cost > most)

    @abstractmethod
    def _steps_fixed(self, n_updates: list[int], reweighted: bool) -> list[float]:
        """So many updates of the activations in each step; its cost."""

    @abstractmethod
    def _choose(self) -> Chosen:
        """What of the fixed stage the adapted one begins with."""

    @abstractmethod
    def _adapt(self, codes: Tensor, H: Tensor, labels: Tensor) -> None:
        """Begin the adapted stage, with copies: it may have to begin again."""

    @abstractmethod
    def _steps_adapted(self, first: int, step_sizes: list[float]) -> list[float]:
        """A step with the codes, and updates of the activations, for each step size; its cost."""


Chosen = tuple[Tensor, Tensor, Tensor]
"""Codes ``(J, F)`` of the entries that go on, their activations ``(J, T)`` and sources ``(J,)``."""


def initial_activations(X: Tensor, D: Tensor) -> Tensor:
    """``(J, T)``, the same everywhere: W H has about the mean of X. `D` is ``(J, F)``."""
    total = float(D.mean(dtype=torch.float64)) * len(D)
    level = float(X.mean(dtype=torch.float64)) / total if total > 0 else 0.0
    return D.new_full((len(D), X.shape[1]), level)


def smoothed(activity: Tensor, n_frames: int) -> Tensor:
    """Running mean of ``(S, T)`` rows over about `n_frames` frames, the ends held."""
    half = n_frames // 2
    padded = functional.pad(activity[None], (half, half), mode="replicate")
    return functional.avg_pool1d(padded, 2 * half + 1, 1)[0]


def activity(D: Tensor, H: Tensor, labels: Tensor, n_sources: int) -> Tensor:
    """``(S, T)``: activations times the norms of their entries ``(J, F)``, summed per source."""
    summed = H.new_zeros(n_sources, H.shape[1])
    return summed.index_add_(0, labels, H * D.norm(dim=1)[:, None])


def chosen(
    D: Tensor, H: Tensor, labels: Tensor, n_sources: int, settings: SearchSettings
) -> tuple[Tensor, Tensor]:
    """Indices of the entries that go on, ascending, and their activations.

    Of each source that is not silent the K entries with the most activity take over all of it.
    """
    by_source = activity(D, H, labels, n_sources)
    peaks = smoothed(by_source, settings.smoothing).amax(1)
    loud = peaks >= SILENT * peaks.max()
    use = (H * D.norm(dim=1)[:, None]).sum(1)
    order = torch.argsort(use, descending=True, stable=True)
    order = order[torch.argsort(labels[order], stable=True)]
    _, counts = torch.unique_consecutive(labels[order], return_counts=True)
    first = torch.cumsum(counts, 0) - counts
    rank = torch.arange(len(order), device=order.device) - first.repeat_interleave(counts)
    K = settings.n_components
    kept = order[loud[labels[order]] & (rank < (len(order) if K is None else K))].sort().values
    D, H, labels = D[kept], H[kept], labels[kept]
    share = by_source / (activity(D, H, labels, n_sources) + TINY)
    return kept, (H * share[labels]).clamp_min_(FAINT)


def gathered(flow: FrozenFlow, codes: Tensor, labels: Tensor) -> tuple[FrozenFlow, Tensor, Tensor]:
    """The flow and ``(G, R, F)`` latent rows of some entries.

    Those of a bank's flow are filled up to the most that one flow has. Also returns where the
    entries stand among the rows.
    """
    if flow.n_groups == 1:
        return flow, codes[None], torch.arange(len(codes), device=codes.device)
    sources, group, counts = torch.unique_consecutive(
        labels, return_inverse=True, return_counts=True
    )
    first = torch.cumsum(counts, 0) - counts
    rank = torch.arange(len(codes), device=codes.device) - first[group]
    R = int(counts.max())
    Z = codes[first][:, None].repeat(1, R, 1)
    Z[group, rank] = codes
    return flow.select(sources), Z, group * R + rank
