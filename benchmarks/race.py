"""Contenders timed in turn, so that what disturbs the machine disturbs all of them.

pytest-benchmark times one function after the other. A race is run at once, round-robin; its samples
are then replayed into pytest-benchmark, one contender per test, by a clock that stands still except
for the sample that is due. So the times end in pytest-benchmark's own statistics and JSON.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from accuracy import SCHEDULE, Disagreement, check
from cases import Workload
from contenders import Build, Contender
from pytest_benchmark.fixture import BenchmarkFixture

SAMPLES_PER_TURN = 2
FEWEST_TURNS, MOST_TURNS = 3, 15

REFUSALS = (Disagreement, ImportError, RuntimeError, TypeError, ValueError)
"""Why a contender may not take part: told in the results, not hidden."""


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


@dataclass
class Entry:
    """How a contender fared: samples in seconds, or why there are none."""

    samples: list[float] = field(default_factory=list)
    refusal: str | None = None
    info: dict[str, Any] = field(default_factory=dict)


# Each quantity does what is not to be timed, and yields the calls that are.


def _forward(workload: Workload, contender: Contender) -> Iterator[Callable[[], Any]]:
    z = workload.z.clone().requires_grad_()
    contender.decode(z)  # the others have emptied the caches
    for _ in range(SAMPLES_PER_TURN):
        yield partial(contender.decode, z)


def _backward(workload: Workload, contender: Contender) -> Iterator[Callable[[], Any]]:
    z = workload.z.clone().requires_grad_()
    for _ in range(SAMPLES_PER_TURN):
        outputs = contender.decode(z)
        yield partial(torch.autograd.grad, outputs, z, workload.cotangents)


def _step(workload: Workload, contender: Contender) -> Iterator[Callable[[], Any]]:
    # A new search each turn: old ones leave out the entries that have died.
    search = contender.start(contender.problem, SCHEDULE)
    search.advance()
    for _ in range(SAMPLES_PER_TURN):
        yield search.advance


QUANTITIES = {"forward": _forward, "backward": _backward, "step": _step}


def _turn(workload: Workload, quantity: str, contender: Contender) -> list[float]:
    samples = []
    with contender.during():
        for call in QUANTITIES[quantity](workload, contender):
            start = time.perf_counter()
            result = call()
            samples.append(time.perf_counter() - start)
            del result  # freed after the clock was read
    return samples


def run(
    workload: Workload, quantity: str, builds: Mapping[str, Build], seconds: float
) -> dict[str, Entry]:
    """Check every contender, then time those that agree.

    Args:
        workload: the case.
        quantity: one of `QUANTITIES`.
        builds: contenders by name.
        seconds: about how long the race may take; 0 for a single turn.
    """
    entries: dict[str, Entry] = {}
    racing: dict[str, Contender] = {}
    for name, build in builds.items():
        try:
            contender = build(workload)
            errors = check(workload, quantity, contender)
        except REFUSALS as refusal:
            entries[name] = Entry(refusal=reason(refusal))
            continue
        racing[name] = contender
        entries[name] = Entry(info=_info(workload, quantity, contender) | {"errors": errors})
    n_turns = 1
    turn = 0
    while racing and turn < n_turns:
        gc.collect()
        start = time.perf_counter()
        for name, contender in racing.items():
            entries[name].samples += _turn(workload, quantity, contender)
        if turn == 0 and seconds:
            n_turns = int(seconds / (time.perf_counter() - start))
            n_turns = min(max(n_turns, FEWEST_TURNS), MOST_TURNS)
        turn += 1
    return entries


def _info(workload: Workload, quantity: str, contender: Contender) -> dict[str, Any]:
    return {
        "precision": contender.precision,
        "weight_bytes": workload.n_weights * contender.bytes_per_weight,
        "passes": workload.passes(quantity),
        "multiply_adds": workload.multiply_adds(quantity),
    }
