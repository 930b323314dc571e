"""A staged search of the compiled engine, stage by stage: seconds, and multiply-adds.

What a stage must compute is counted from the entries that are alive in each of its steps, by the
formulas of csrc/cpu/staged.cpp: products of entries, frames and bins, and passes through the flow.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from kernels.cases import n_weights
from kernels.sounds import SR

from dds_fast import Dictionary
from dds_fast.audio import windows
from dds_fast.audio.recordings import read
from dds_fast.decomposition import source_activations
from dds_fast.notes.found import Detection, find_notes
from dds_fast.problems import Problems
from dds_fast.search import Schedule, SearchSettings, StagedProblem, engines
from dds_fast.search.cpu.staged import StagedSearch
from dds_fast.search.cpu.weights import packed_flow, state_format
from dds_fast.search.problem import State
from dds_fast.search.staged import LOOK_EVERY

FRONT, START, FIXED, CHOICE, ADAPTED, REWEIGHTED, NOTES = (
    "front end",
    "start: the codes decoded",
    "fixed stage",
    "choice",
    "adapted stage",
    "reweighted stage",
    "notes",
)
FLOW, GAINS = "of it the flow", "of it the activations"
STAGES = {
    None: (FRONT, START, FIXED, CHOICE, ADAPTED, FLOW, GAINS, NOTES),
    "fast": (FRONT, START, FIXED, REWEIGHTED, NOTES),
}
"""By preset."""

MultiplyAdds = Counter
"""By how the products are made: "float32", "bfloat16", or "split" (three of bfloat16)."""


@dataclass
class Stage:
    """What a stage took and what it had to compute."""

    seconds: float = 0.0
    multiply_adds: MultiplyAdds = field(default_factory=Counter)


def total(stages: dict[str, Stage]) -> MultiplyAdds:
    """Of a whole search."""
    return sum(
        (stage.multiply_adds for name, stage in stages.items() if name not in (FLOW, GAINS)),
        MultiplyAdds(),
    )


def staged_problem(
    X: torch.Tensor, dictionary: Dictionary, settings: SearchSettings
) -> StagedProblem:
    """What `dds_fast.decompose` searches for in a spectrogram with a flow's dictionary."""
    problem = Problems(dictionary, settings, "latent", 0).of(X)
    assert isinstance(problem, StagedProblem)
    return problem


def n_found(dictionary: Dictionary, state: State) -> int:
    """How many notes are in the activations that a staged search found."""
    assert state.labels is not None
    n_sources = len(dictionary.sources)
    summed = source_activations(state.W, state.H, state.labels, n_sources).numpy()
    detection = dictionary.detection or Detection.uncalibrated(summed)
    rate = dictionary.spectrogram.frame_rate
    return len(find_notes(summed, dictionary.sources, rate, detection))


class Watch:
    """Runs a search from sound to notes, and keeps what each stage took."""

    def __init__(self, dictionary: Dictionary, settings: SearchSettings, precision: str) -> None:
        assert dictionary.flow is not None
        self.dictionary, self.settings, self.precision = dictionary, settings, precision
        self.products = state_format(precision)
        self.flow_format = {"bf16x3": "split"}.get(precision, precision)
        self.stages: dict[str, Stage] = {}

    @contextmanager
    def _timed(self, name: str) -> Iterator[Stage]:
        stage = self.stages.setdefault(name, Stage())
        start = time.perf_counter()
        yield stage
        stage.seconds += time.perf_counter() - start

    def run(self, wave: np.ndarray) -> dict[str, Stage]:
        """The stages by name, in order; those that are part of another after it."""
        self.stages = {}
        with self._timed(FRONT):
            X = read(wave, SR, self.dictionary.spectrogram).X
        self.F, n_frames = X.shape
        rate = self.dictionary.spectrogram.frame_rate
        length, overlap = (
            round(seconds * rate) for seconds in (self.settings.window_seconds, windows.OVERLAP)
        )
        for first, end in windows.spans(n_frames, length, overlap):
            self._search(X[:, first:end].contiguous())
        return self.stages

    def _search(self, X: torch.Tensor) -> None:
        """That of a window, and its notes."""
        self.T = X.shape[1]
        problem = staged_problem(X, self.dictionary, self.settings)
        with self._timed(START) as stage:
            schedule = Schedule(self.settings.step_size, self.settings.max_steps)
            search = engines.start([problem], [schedule], precision=self.precision, backend="cpu")
        assert isinstance(search, StagedSearch)
        n = search.native.n_entries
        stage.multiply_adds += self._passes(n, 1) + self._prepared(n) + self._explained(n)
        self._fixed(search, FIXED, search.n_fixed)
        if search.adapts:
            self._adapted(search)
        else:
            self._fixed(search, REWEIGHTED, search.n_adapted)
        with self._timed(NOTES):
            state = search.state()
            n_found(self.dictionary, state)

    def _fixed(self, search: StagedSearch, name: str, n_steps: int) -> None:
        left = self.settings.fixed_updates if name == FIXED else LOOK_EVERY * n_steps
        for _ in range(n_steps):
            before, n_updates = search.native.n_entries, min(LOOK_EVERY, left)
            left -= n_updates
            with self._timed(name) as stage:
                search.advance()
            after = search.native.n_entries
            stage.multiply_adds += self._updated(before, n_updates) + self._explained(after)

    def _adapted(self, search: StagedSearch) -> None:
        self.alive: list[int] = []
        search._choose = self._around(search._choose)  # type: ignore[method-assign]
        search._adapt = self._around(search._adapt)  # type: ignore[method-assign]
        self.choice_seconds = 0.0
        for _ in range(search.n_adapted):
            before = None if not self.alive else search.native.n_entries
            start = time.perf_counter()
            search.advance()
            seconds = time.perf_counter() - start
            if before is None:
                assert search.chosen is not None
                before = len(search.chosen[0])
                seconds -= self.choice_seconds
                began = self._passes(before, 1) + self._explained(before)
                self.stages[CHOICE].multiply_adds += began
            self._count_adapted(seconds, before, search.native.n_entries)
        self._time_flow(search)

    def _around(self, part: Callable[..., Any]) -> Callable[..., Any]:
        """A part of the choice, timed."""

        def timed(*chosen: torch.Tensor) -> Any:
            start = time.perf_counter()
            with self._timed(CHOICE):
                found = part(*chosen)
            self.choice_seconds += time.perf_counter() - start
            return found

        return timed

    def _count_adapted(self, seconds: float, before: int, after: int) -> None:
        flow = self._passes(before, 2)
        if after < before:
            flow += self._passes(after, 1)
        gradient = self._count(self.products, before * self.F * self.T)
        updates = self._updated(after, self.settings.updates_per_step)
        gains = gradient + self._prepared(after) + updates + self._explained(after)
        for name, count in ((ADAPTED, flow + gains), (FLOW, flow), (GAINS, gains)):
            self.stages.setdefault(name, Stage()).multiply_adds += count
        self.stages[ADAPTED].seconds += seconds
        self.alive.append(after)

    def _time_flow(self, search: StagedSearch) -> None:
        """The flow by itself: its passes on as many rows; what is left are the activations."""
        flow = search.problem.flow
        assert flow is not None
        packed = packed_flow(flow, "decode", self.precision)
        seconds = 0.0
        for n_rows, n_steps in Counter(self.alive).items():
            shape = (flow.n_groups, -(-n_rows // flow.n_groups), self.F)
            Z, gradient = torch.zeros(shape), torch.ones(shape)
            times = []
            for _ in range(3):
                start = time.perf_counter()
                _, log_det, stash = packed.forward(Z, True)
                assert stash is not None
                packed.backward(stash, gradient, torch.zeros_like(log_det))
                times.append(time.perf_counter() - start)
            seconds += n_steps * min(times)
        self.stages[FLOW].seconds += seconds
        self.stages[GAINS].seconds = max(
            0.0, self.stages[ADAPTED].seconds - self.stages[FLOW].seconds
        )

    def _count(self, format: str, n: int) -> MultiplyAdds:
        return Counter({format: n})

    def _passes(self, n_entries: int, n_passes: int) -> MultiplyAdds:
        """Through the flow; a Glow's mixing is a product that bfloat16 would spoil."""
        assert self.dictionary.flow is not None
        frozen = self.dictionary.frozen(torch.float32, torch.device("cpu"))
        coupling, mixing = n_weights(frozen)
        rows = n_entries * n_passes
        count = self._count(self.flow_format, coupling // frozen.n_groups * rows)
        return count + self._count(self.products, mixing // frozen.n_groups * rows)

    def _by_gram(self, n_entries: int) -> bool:
        return n_entries < 2 * self.F

    def _prepared(self, n: int) -> MultiplyAdds:
        gram = n * n * self.F if self._by_gram(n) else 0
        return self._count(self.products, n * self.F * self.T + gram)

    def _updated(self, n: int, n_updates: int) -> MultiplyAdds:
        once = n * n * self.T if self._by_gram(n) else 2 * n * self.F * self.T
        return self._count(self.products, n_updates * once)

    def _explained(self, n: int) -> MultiplyAdds:
        return self._count(self.products, n * self.F * self.T)
