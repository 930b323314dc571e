"""Contenders timed in turn, so that what disturbs the machine disturbs all of them.

pytest-benchmark times one test after the other: here a test is one turn of one contender, and the
tests of a race go round. Their samples are pooled when they are kept. On a GPU a sample is many
calls in a row, and waits for the device once.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
import torch
from kernels.devices import finish, timed
from pytest_benchmark.fixture import BenchmarkFixture

SAMPLES_PER_TURN = 2
FEWEST_TURNS, MOST_TURNS = 3, 15
GPU_SAMPLE_SECONDS = 0.02
"""Waiting for the device takes about 20 microseconds."""

Calls = Callable[[int], Any]
"""Does its work so many times in a row."""


def reason(refusal: Exception) -> str:
    """One line for the results."""
    lines = str(refusal).strip().splitlines() or [""]
    return f"{type(refusal).__name__}: {lines[0]}"


def again(call: Callable[[], Any]) -> Calls:
    """A call as `Calls`; what the last one returned is given back."""

    def calls(n: int) -> Any:
        result = None
        for _ in range(n):
            result = call()
        return result

    return calls


@dataclass(frozen=True)
class Racer:
    """A contender that agreed with float64.

    Attributes:
        prepare: does what is not to be timed, and yields what is, again and again.
        info: for the results; see `store.timed`.
        during: entered around everything that the contender computes.
        outcome: what to tell of its first turn.
    """

    prepare: Callable[[], Iterator[Calls]]
    info: dict[str, Any] = field(default_factory=dict)
    during: Callable[[], AbstractContextManager[Any]] = nullcontext
    outcome: Callable[[], dict[str, Any]] = dict


class Turn(NamedTuple):
    """A test: who is timed, for which time in which race."""

    race: tuple[str, ...]
    number: int
    contender: str

    def __str__(self) -> str:
        return "-".join((*self.race, str(self.number), self.contender))


def parametrize(
    metafunc: pytest.Metafunc, races: Iterable[tuple[tuple[str, ...], Iterable[str]]]
) -> None:
    """A test with argument ``turn`` per turn and contender, those of a race turn by turn.

    Args:
        metafunc: of the test.
        races: the words of each race's group, with which ids begin, for ``-k``; its contenders.
    """
    n_turns = 1 if metafunc.config.option.quick else MOST_TURNS
    turns = [
        Turn(words, number, contender)
        for words, contenders in races
        for number in range(n_turns)
        for contender in contenders
    ]
    metafunc.parametrize("turn", turns, ids=str)


class Race:
    """The contenders of one table.

    All are built, and thereby checked, before the first is timed. What one raises is told in the
    results, not hidden: a compiler's errors have no type in common.

    Args:
        builds: contenders by name.
        seconds: about how long the race may take; 0 for a single turn.
        device: where they compute. On a CPU each turn begins anew; a GPU has room to keep what was
            prepared.
        n_samples: of each contender in a turn.
    """

    def __init__(
        self,
        builds: Mapping[str, Callable[[], Racer]],
        seconds: float,
        device: torch.device,
        n_samples: int = SAMPLES_PER_TURN,
    ) -> None:
        self.seconds, self.device, self.n_samples = seconds, device, n_samples
        self.racers: dict[str, Racer] = {}
        self.refusals: dict[str, str] = {}
        self.kept: dict[str, Iterator[Calls]] = {}
        self.n_calls: dict[str, int] = {}
        self.first_turn = 0.0
        for name, build in builds.items():
            try:
                self.racers[name] = build()
            except Exception as refusal:
                self.refusals[name] = reason(refusal)

    @property
    def n_turns(self) -> int:
        """As many as the first turn leaves time for."""
        if not self.seconds:
            return 1
        return min(max(int(self.seconds / self.first_turn), FEWEST_TURNS), MOST_TURNS)

    @classmethod
    def of(
        cls,
        builds: Mapping[str, Callable[[], Racer]],
        config: pytest.Config,
        n_samples: int = SAMPLES_PER_TURN,
    ) -> Race:
        """As the options say."""
        seconds = 0.0 if config.option.quick else config.option.race_seconds
        return cls(builds, seconds, torch.device(config.option.device), n_samples)

    def take(
        self, turn: Turn, benchmark: BenchmarkFixture, refuse: Callable[[str, str, str], None]
    ) -> None:
        """A contender's turn; skips if the race is over, or if it cannot take part."""
        number, contender = turn.number, turn.contender
        if number and number >= self.n_turns:
            pytest.skip("the race is over")
        benchmark.group = " ".join(turn.race)
        if contender not in self.refusals:
            gc.collect()
            start = time.perf_counter()
            try:
                self._sample(contender, number == 0, benchmark)
            except Exception as failure:
                self.refusals[contender] = reason(failure)
            if number == 0:
                self.first_turn += time.perf_counter() - start
        if contender in self.refusals:
            refuse(benchmark.group, contender, self.refusals[contender])

    def _sample(self, name: str, first: bool, benchmark: BenchmarkFixture) -> None:
        racer = self.racers[name]
        with racer.during():
            prepared = self._prepared(name, racer)
            n_calls = self.n_calls.setdefault(name, 1)

            def begin() -> tuple[tuple[Calls], dict[str, Any]]:
                calls = next(prepared)
                finish(self.device)
                return (calls,), {}

            def sample(calls: Calls) -> None:
                calls(n_calls)
                finish(self.device)

            benchmark.pedantic(sample, setup=begin, rounds=self.n_samples)
            if first:
                racer.info.update(racer.outcome())
        benchmark.extra_info |= {"contender": name, "calls": n_calls} | racer.info

    def _prepared(self, name: str, racer: Racer) -> Iterator[Calls]:
        if self.device.type == "cpu":
            return racer.prepare()
        if name not in self.kept:
            prepared = self.kept[name] = racer.prepare()
            once = min(timed(lambda: next(prepared)(1), self.device) for _ in range(2))
            self.n_calls[name] = max(1, int(GPU_SAMPLE_SECONDS / once))
        return self.kept[name]
