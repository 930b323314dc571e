"""Contenders timed in turn, so that what disturbs the machine disturbs all of them.

pytest-benchmark times one function after the other. A race is run at once, round-robin; its samples
are then replayed into pytest-benchmark, one contender per test, by a clock that stands still except
for the sample that is due. So the times end in pytest-benchmark's own statistics and JSON.

On a GPU a sample is many calls in a row, and waits for the device once.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from kernels.devices import timed
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


_now = 0.0


def replay_clock() -> float:
    """The timer of replayed benchmarks."""
    return _now


def replay(samples: list[float], benchmark: BenchmarkFixture) -> None:
    """Hand measured samples to pytest-benchmark; the test must be marked with `replay_clock`."""
    due = iter(samples)

    def pass_time() -> None:
        global _now
        _now += next(due)

    benchmark.pedantic(pass_time, rounds=len(samples))


@dataclass(frozen=True)
class Racer:
    """A contender that agreed with float64.

    Attributes:
        prepare: does what is not to be timed, and yields what is, again and again.
        info: for the results.
        during: entered around everything that the contender computes.
    """

    prepare: Callable[[], Iterator[Calls]]
    info: dict[str, Any] = field(default_factory=dict)
    during: Callable[[], AbstractContextManager[Any]] = nullcontext


@dataclass
class Entry:
    """How a contender fared: samples in seconds, or why there are none."""

    samples: list[float] = field(default_factory=list)
    refusal: str | None = None
    info: dict[str, Any] = field(default_factory=dict)


def tell(
    entry: Entry,
    contender: str,
    benchmark: BenchmarkFixture,
    refuse: Callable[[str, str, str], None],
) -> None:
    """Hand an entry to pytest-benchmark, or say why there is none."""
    if entry.refusal is not None:
        refuse(benchmark.group, contender, entry.refusal)
    benchmark.extra_info |= {"contender": contender} | entry.info
    replay(entry.samples, benchmark)


def again(call: Callable[[], Any]) -> Calls:
    """A call as `Calls`; what the last one returned is given back."""

    def calls(n: int) -> Any:
        result = None
        for _ in range(n):
            result = call()
        return result

    return calls


class _Turns:
    """A racer's turns. On a CPU each begins anew; a GPU has room to keep what was prepared."""

    def __init__(self, racer: Racer, device: torch.device, n_samples: int) -> None:
        self.racer, self.device, self.n_samples = racer, device, n_samples
        self.prepared: Iterator[Calls] | None = None
        self.n_calls = 1

    def samples(self) -> list[float]:
        with self.racer.during():
            if self.device.type == "cpu":
                prepared = self.racer.prepare()
            elif self.prepared is None:
                prepared = self.prepared = self.racer.prepare()
                once = min(self._sample(prepared) for _ in range(2))
                self.n_calls = max(1, int(GPU_SAMPLE_SECONDS / once))
            else:
                prepared = self.prepared
            return [self._sample(prepared) for _ in range(self.n_samples)]

    def _sample(self, prepared: Iterator[Calls]) -> float:
        calls = next(prepared)
        return timed(lambda: calls(self.n_calls), self.device) / self.n_calls


def run(
    builds: Mapping[str, Callable[[], Racer]],
    seconds: float,
    device: torch.device,
    samples_per_turn: int = SAMPLES_PER_TURN,
) -> dict[str, Entry]:
    """Build every contender, which checks it, then time those that agree.

    Args:
        builds: contenders by name. What one raises is told in the results, not hidden: a compiler's
            errors have no type in common.
        seconds: about how long the race may take; 0 for a single turn.
        device: where they compute.
        samples_per_turn: of each contender.
    """
    entries: dict[str, Entry] = {}
    racing: dict[str, _Turns] = {}
    for name, build in builds.items():
        try:
            racer = build()
        except Exception as refusal:
            entries[name] = Entry(refusal=reason(refusal))
            continue
        racing[name] = _Turns(racer, device, samples_per_turn)
        entries[name] = Entry(info=racer.info)
    n_turns = 1
    turn = 0
    while racing and turn < n_turns:
        gc.collect()
        start = time.perf_counter()
        for name, turns in list(racing.items()):
            try:
                entries[name].samples += turns.samples()
            except Exception as failure:
                entries[name] = Entry(refusal=reason(failure))
                del racing[name]
        if turn == 0 and seconds:
            n_turns = int(seconds / (time.perf_counter() - start))
            n_turns = min(max(n_turns, FEWEST_TURNS), MOST_TURNS)
        turn += 1
    return entries
