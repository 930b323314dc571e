"""The staged search on a GPU.

Steps whose entries stay as they are are launched one by one: each is long beside its few launches.
A step with the codes is two CUDA graphs, since the looks fall between them:

    move Z, decode | look | W'X, W'W, updates of H, cost, gradient to Z

What the decode keeps for the gradient lives in the first graph and is read by the second. At a look
the host waits, leaves out entries that are dead, and has the weights made anew; but for that it
waits where it reads costs, after as many steps as it was asked for. Entries that are left out fall
silent, and keep their rows until these are mostly silent: only then are the graphs captured anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor

from dds_fast.flows.cuda_graph import Graphed
from dds_fast.search import staged
from dds_fast.search.gpu.activations import Activations
from dds_fast.search.gpu.codes import Codes
from dds_fast.search.gpu.costs import Costs
from dds_fast.search.gpu.decoder import Decoder
from dds_fast.search.gpu.weights import kernels, on_device_of
from dds_fast.search.problem import StagedProblem, State, log_likelihoods_of
from dds_fast.search.schedule import Schedule
from dds_fast.search.search import Search, together
from dds_fast.search.staged import LOOK_EVERY, Chosen, Stages

WARM_UP = 1
"""Steps before a capture, in which the kernels are loaded."""

SHRINK = 0.5
"""Once so few of a step's rows still sound, the others are given up; till then they are silent. The
capture anew takes the host as long as some ten steps take the device."""


class StagedSearch(Stages):
    """The search of one recording.

    Attributes:
        D: ``(J, F)`` clipped entries.
        log_likelihoods: ``(J,)``.
        places: where the entries stand in these and in H; other rows are silent.
    """

    def __init__(
        self, problem: StagedProblem, schedule: Schedule, precision: str, flow_ops: ModuleType
    ) -> None:
        super().__init__(problem, schedule)
        self.precision, self.flow_ops, self.device = precision, flow_ops, problem.X.device
        with on_device_of(problem.X):
            Xt = problem.X.T.contiguous()
            self.costs = Costs(problem, Xt, precision, self.most_steps)
            self.activations = Activations(problem, Xt, precision)
            self.D, self.log_likelihoods = self._dictionary()
            self.places = self.rows = torch.arange(len(self.D), device=self.device)
            H = staged.initial_activations(problem.X, self.D)
            self.activations.place(H, problem.labels)
            self.activations.measure(self.D)
            self.activations.prepare(self.D)
            self._evaluate()
            (cost,) = self.costs.after(0)
        self.controller.record(cost)

    def _dictionary(self) -> tuple[Tensor, Tensor]:
        """All entries that there are, and their log-likelihoods."""
        problem = self.problem
        if problem.flow is None:
            assert problem.W is not None
            return problem.W.T.contiguous(), problem.W.new_zeros(problem.W.shape[1])
        assert problem.Z is not None
        decoder = Decoder(problem.flow, False, self.precision, self.flow_ops)
        ((rows, log_det),) = decoder.decode([problem.Z], keep=False)
        free = problem.Z[..., problem.n_fixed :]
        log_likelihoods = log_likelihoods_of(free, log_det, problem.likelihood)
        return rows.clamp_min(0).flatten(0, 1), log_likelihoods.flatten()

    def advance(self, n_steps: int = 1) -> None:
        """Up to `n_steps` steps, of one stage after the other."""
        with on_device_of(self.D):
            super().advance(n_steps)

    def _evaluate(self, record: bool = True) -> None:
        self.costs.evaluate(self.D, self.activations.H, self.log_likelihoods, record)

    # ---- entries as they are ---------------------------------------------------------------------

    def _steps_fixed(self, n_updates: list[int], reweighted: bool) -> list[float]:
        for n in n_updates:
            if reweighted:
                self.activations.reweigh()
            self.activations.update(self.D, n, over_relaxed=True)
            kept = self.activations.alive(len(self.D))
            if kept is not None:
                self._keep(kept)
            self._evaluate()
        return self.costs.after(len(self.controller.history))

    def _keep(self, kept: Tensor) -> None:
        self.D, self.log_likelihoods = self.D[kept], self.log_likelihoods[kept]
        self.rows, self.places = self.rows[kept], self.places[: len(kept)]
        self.activations.keep(kept, self.D)

    # ---- with the codes --------------------------------------------------------------------------

    def _choose(self) -> Chosen:
        problem = self.problem
        assert problem.Z is not None
        # Once, and on the CPU: there sources are added up in an order that does not vary.
        D, H, labels = self.D.cpu(), self.activations.H.cpu(), self.activations.labels
        kept, H = staged.chosen(D, H, labels.cpu(), problem.n_sources, problem.settings)
        kept, H = kept.to(self.device), H.to(self.device)
        return problem.Z.flatten(0, 1)[self.rows[kept]], H, labels[kept]

    def _adapt(self, codes: Tensor, H: Tensor, labels: Tensor) -> None:
        self.codes = Codes(self.problem, codes, labels, self.precision, self.flow_ops)
        self.rates = self.D.new_zeros(self.most_steps + 1, 4)
        self.numbers = self.D.new_zeros(1, 4)
        self.costs.go_back(len(self.controller.history))
        self._place(H)
        self._evaluate(record=False)
        self._find_gradients()
        self._capture()

    def _place(self, H: Tensor) -> None:
        """Begin with the chosen entries, or go on with fewer."""
        self.activations.place(self.codes.rows.silent(H), self.codes.labels)
        self.places = self.codes.rows.places
        self._decode(move=False)

    def _decode(self, move: bool) -> None:
        counters = self.costs.counters
        self.D, self.log_likelihoods = self.codes.decode(move, self.numbers[0], counters)
        self.activations.measure(self.D)

    def _find_gradients(self) -> None:
        self.codes.backward(*self.costs.gradients(self.D, self.activations.H))

    def _capture(self) -> None:
        """Have the halves of a step captured when they are next called, in this order."""
        self.move = Graphed(self._move, self.device, WARM_UP)
        self.follow = Graphed(self._follow, self.device, WARM_UP)

    def _move(self) -> None:
        """The codes' half of a step."""
        torch.index_select(self.rates, 0, self.costs.n_costs, out=self.numbers)
        self._decode(move=True)

    def _follow(self) -> None:
        """The activations' half, and the gradients for the next step."""
        self.activations.prepare(self.D)
        n_updates = self.problem.settings.updates_per_step
        self.activations.update(self.D, n_updates, over_relaxed=False)
        self._evaluate()
        self._find_gradients()

    def _steps_adapted(self, first: int, step_sizes: list[float]) -> list[float]:
        n_known = len(self.controller.history)
        self.rates[n_known : n_known + len(step_sizes)] = _rates(first, step_sizes).to(self.rates)
        for step in range(first, first + len(step_sizes)):
            self.move()
            if step % LOOK_EVERY == 0 and self._look():
                self._follow()
                self._capture()
            else:
                self.follow()
        return self.costs.after(n_known)

    def _look(self) -> bool:
        """Leave out dead entries, and make the weights anew; whether there are fewer rows now."""
        kept, shrinks = self.activations.alive(len(self.places)), False
        if kept is not None:
            n_rows = len(self.codes.rows.entries)
            shrinks = len(self.codes.rows_of(kept).entries) <= SHRINK * n_rows
            if shrinks:
                H = self.activations.H[kept]
                self.codes.keep(kept)
                self._place(H)
            else:
                self.activations.silence_all_but(kept)
                self.places = kept
        self.activations.reweigh()
        return shrinks

    def states(self) -> list[State]:
        """The entries that still sound, and their activations."""
        places, fixed = self.places, self.problem.flow is None
        state = State(
            self.D[places].T,
            self.activations.H[places],
            None if fixed else self.log_likelihoods[places],
            self.activations.labels[places],
        )
        return [state]


def _rates(first: int, step_sizes: list[float]) -> Tensor:
    """``(steps, 4)``, a row per step: Adam's corrected step size, and the factor of its root."""
    names = kernels("search")
    taken = torch.arange(first + 1, first + 1 + len(step_sizes), dtype=torch.float64)
    rates = taken.new_zeros(len(step_sizes), 4)
    rates[:, names.RATE.value] = taken.new_tensor(step_sizes) / (1 - 0.9**taken)
    rates[:, names.RMS_CORRECTION.value] = (1 - 0.999**taken).rsqrt()
    return rates


def staged_search(
    problems: Sequence[StagedProblem],
    schedules: Sequence[Schedule],
    precision: str,
    flow_ops: ModuleType,
) -> Search:
    """The searches of some recordings, one after the other."""
    return together(
        [
            StagedSearch(problem, schedule, precision, flow_ops)
            for problem, schedule in zip(problems, schedules, strict=True)
        ]
    )
