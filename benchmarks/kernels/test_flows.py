"""A decode, its backward and a whole update step, beside the same work in PyTorch and elsewhere.

    dds-fast bench cpu --only W1,W2,W3 --out DIR
    dds-fast bench gpu --only W1,W2,W3 --out DIR

On a CPU one process per case is best: weights of several cases do not fit in memory together.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import pytest
import store
import torch
from kernels import limits, peak_memory, quantities, race
from kernels.cases import CASES, CPU_CASES, Workload
from kernels.contenders import Build, of_case
from pytest_benchmark.fixture import BenchmarkFixture


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A suite's cases, with ids that ``-k`` can select one by."""
    suite, name = metafunc.config.getoption("suite"), metafunc.function.__name__
    if name == "test_flow":
        races = [
            ((case, quantity), of_case(suite, case))
            for case, shape in CASES[suite].items()
            for quantity in shape.quantities
        ]
        race.parametrize(metafunc, "case, quantity", races)
        return
    limited = [(case, limit) for case in CPU_CASES for limit in limits.CASE]
    peaks = [
        (case, contender)
        for case, shape in CPU_CASES.items()
        if shape.kind == "dds1"
        for contender in peak_memory.CONTENDERS
    ]
    names, rows = {
        "test_limit": ("case, limit", limited),
        "test_peak_memory": ("case, contender", peaks),
    }[name]
    rows = rows if suite == "cpu" else []
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
) -> race.Race:
    workload, builds = entrants(suite, case, quick, device)
    racers = {
        name: partial(quantities.racer, workload, quantity, build) for name, build in builds.items()
    }
    return race.Race(racers, 0.0 if quick else seconds, device)


def test_limit(case: str, limit: str, quick: bool, benchmark: BenchmarkFixture) -> None:
    """First of a case, while nothing but its weights is in memory."""
    workload, _ = entrants("cpu", case, quick, torch.device("cpu"))
    limits.measure(f"{case} limits", limit, limits.CASE[limit](workload), benchmark)


def test_flow(
    case: str,
    quantity: str,
    turn: int,
    contender: str,
    quick: bool,
    device: torch.device,
    refuse: Callable[[str, str, str], None],
    pytestconfig: pytest.Config,
    benchmark: BenchmarkFixture,
) -> None:
    benchmark.group = f"{case} {quantity}"
    suite, seconds = pytestconfig.getoption("suite"), pytestconfig.getoption("race_seconds")
    of_case = raced(suite, case, quantity, quick, seconds, device)
    of_case.time(contender, turn, benchmark, refuse)


def test_peak_memory(
    case: str,
    contender: str,
    quick: bool,
    tell: Callable[[store.Record], None],
    refuse: Callable[[str, str, str], None],
) -> None:
    """Of a process of its own; the time in its row is that of one update step there."""
    try:
        measured = peak_memory.measure_apart(case, contender, quick)
    except RuntimeError as failure:
        refuse(f"{case} memory", contender, str(failure))
    tell(store.timed(f"{case} memory", contender, measured["samples"], measured["info"]))
