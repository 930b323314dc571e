"""A decode, its backward and a whole update step, beside the same work in PyTorch and elsewhere.

    dds-fast bench cpu --only W1,W2,W3 --out DIR

One process per case is best: weights of several cases do not fit in memory together.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import limits
import peak_memory
import pytest
import race
from cases import CASES, Workload
from contenders import Build, of_case
from pytest_benchmark.fixture import BenchmarkFixture

RACES = [(case, quantity) for case, shape in CASES.items() for quantity in shape.quantities]
CONTENDERS = [
    (case, quantity, contender) for case, quantity in RACES for contender in of_case(case)
]
CASE_LIMITS = [(case, limit) for case in CASES for limit in limits.CASE]
PEAKS = [
    (case, contender)
    for case, shape in CASES.items()
    if shape.kind == "dds1"
    for contender in peak_memory.CONTENDERS
]


def ids(rows: list[tuple[str, ...]]) -> list[str]:
    """Ids that ``-k`` can select a case by."""
    return ["-".join(row) for row in rows]


@lru_cache(maxsize=1)
def entrants(case: str, quick: bool) -> tuple[Workload, dict[str, Build]]:
    """The case in memory, and its contenders, each made when first asked for."""
    workload = Workload(case, CASES[case].tiny() if quick else CASES[case])
    return workload, {name: lru_cache(build) for name, build in of_case(case).items()}


@lru_cache(maxsize=1)
def raced(case: str, quantity: str, quick: bool, seconds: float) -> dict[str, race.Entry]:
    workload, builds = entrants(case, quick)
    return race.run(workload, quantity, builds, 0.0 if quick else seconds)


@pytest.mark.parametrize(("case", "limit"), CASE_LIMITS, ids=ids(CASE_LIMITS))
def test_limit(case: str, limit: str, quick: bool, benchmark: BenchmarkFixture) -> None:
    """First of a case, while nothing but its weights is in memory."""
    limits.measure(f"{case} limits", limit, limits.CASE[limit](entrants(case, quick)[0]), benchmark)


@pytest.mark.benchmark(timer=race.replay_clock)
@pytest.mark.parametrize(("case", "quantity", "contender"), CONTENDERS, ids=ids(CONTENDERS))
def test_flow(
    case: str,
    quantity: str,
    contender: str,
    quick: bool,
    refuse: Callable[[str, str, str], None],
    pytestconfig: pytest.Config,
    benchmark: BenchmarkFixture,
) -> None:
    benchmark.group = f"{case} {quantity}"
    entry = raced(case, quantity, quick, pytestconfig.getoption("race_seconds"))[contender]
    if entry.refusal is not None:
        refuse(benchmark.group, contender, entry.refusal)
    benchmark.extra_info |= {"contender": contender} | entry.info
    race.replay(entry.samples, benchmark)


@pytest.mark.benchmark(timer=race.replay_clock)
@pytest.mark.parametrize(("case", "contender"), PEAKS, ids=ids(PEAKS))
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
