"""A decode, its backward and a whole update step, beside the same work in PyTorch and elsewhere.

    dds-fast bench cpu --only W1,W2,W3 --out DIR
    dds-fast bench gpu --only W1,W2,W3 --out DIR

On a CPU one process per case is best: weights of several cases do not fit in memory together.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import pytest
import torch
from kernels import limits, peak_memory, quantities, race
from kernels.cases import CASES, CPU_CASES, Workload
from kernels.contenders import Build, of_case
from pytest_benchmark.fixture import BenchmarkFixture

Rows = list[tuple[str, ...]]


def races(suite: str) -> Rows:
    return [
        (case, quantity, contender)
        for case, shape in CASES[suite].items()
        for quantity in shape.quantities
        for contender in of_case(suite, case)
    ]


CASE_LIMITS = [(case, limit) for case in CPU_CASES for limit in limits.CASE]
PEAKS = [
    (case, contender)
    for case, shape in CPU_CASES.items()
    if shape.kind == "dds1"
    for contender in peak_memory.CONTENDERS
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A suite's cases, with ids that ``-k`` can select one by."""
    suite = metafunc.config.getoption("suite")
    names, rows = {
        "test_limit": ("case, limit", CASE_LIMITS if suite == "cpu" else []),
        "test_flow": ("case, quantity, contender", races(suite)),
        "test_peak_memory": ("case, contender", PEAKS if suite == "cpu" else []),
    }[metafunc.function.__name__]
    metafunc.parametrize(names, rows, ids=["-".join(row) for row in rows])


@lru_cache(maxsize=1)
def entrants(
    suite: str, case: str, quick: bool, device: torch.device
) -> tuple[Workload, dict[str, Build]]:
    """The case in memory, and its contenders, each made when first asked for."""
    shape = CASES[suite][case]
    workload = Workload(case, shape.tiny() if quick else shape, device)
    return workload, {name: lru_cache(build) for name, build in of_case(suite, case).items()}


@lru_cache(maxsize=1)
def raced(
    suite: str, case: str, quantity: str, quick: bool, seconds: float, device: torch.device
) -> dict[str, race.Entry]:
    workload, builds = entrants(suite, case, quick, device)
    racers = {
        name: partial(quantities.racer, workload, quantity, build) for name, build in builds.items()
    }
    return race.run(racers, 0.0 if quick else seconds, device)


def test_limit(case: str, limit: str, quick: bool, benchmark: BenchmarkFixture) -> None:
    """First of a case, while nothing but its weights is in memory."""
    workload, _ = entrants("cpu", case, quick, torch.device("cpu"))
    limits.measure(f"{case} limits", limit, limits.CASE[limit](workload), benchmark)


@pytest.mark.benchmark(timer=race.replay_clock)
def test_flow(
    case: str,
    quantity: str,
    contender: str,
    quick: bool,
    device: torch.device,
    refuse: Callable[[str, str, str], None],
    pytestconfig: pytest.Config,
    benchmark: BenchmarkFixture,
) -> None:
    benchmark.group = f"{case} {quantity}"
    suite, seconds = pytestconfig.getoption("suite"), pytestconfig.getoption("race_seconds")
    entry = raced(suite, case, quantity, quick, seconds, device)[contender]
    race.tell(entry, contender, benchmark, refuse)


@pytest.mark.benchmark(timer=race.replay_clock)
def test_peak_memory(
    case: str,
    contender: str,
    quick: bool,
    refuse: Callable[[str, str, str], None],
    benchmark: BenchmarkFixture,
) -> None:
    """Of a process of its own; the time in its row is that of one update step there."""
    benchmark.group = f"{case} memory"
    try:
        measured = peak_memory.measure_apart(case, contender, quick)
    except RuntimeError as failure:
        refuse(benchmark.group, contender, str(failure))
    benchmark.extra_info |= {"contender": contender} | measured["info"]
    race.replay(measured["samples"], benchmark)
