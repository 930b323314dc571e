"""A decode, its backward and a whole update step, beside the same work in PyTorch and elsewhere.

    dds-fast bench cpu --only W1,W2,W3 --out DIR
    dds-fast bench gpu --only W1,W2,W3 --out DIR

On a CPU one process per case is best: weights of several cases do not fit in memory together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any

import pytest
import store
import torch
from kernels import limits, peak_memory, quantities, race
from kernels.cases import CASES, CPU_CASES, Workload
from kernels.contenders import Build, of_case
from pytest_benchmark.fixture import BenchmarkFixture


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A suite's cases, with ids that ``-k`` can select one by; the rest is for a CPU."""
    suite = metafunc.config.option.suite
    if metafunc.function is test_flow:
        races = [
            ((case, quantity), of_case(suite, case))
            for case, shape in CASES[suite].items()
            for quantity in shape.quantities
        ]
        return race.parametrize(metafunc, races)
    dds1 = [case for case, shape in CPU_CASES.items() if shape.kind == "dds1"]
    asked: dict[Callable[..., Any], tuple[str, Iterable[str], Iterable[str]]] = {
        test_limit: ("case, limit", CPU_CASES, limits.CASE),
        test_peak_memory: ("case, contender", dds1, peak_memory.CONTENDERS),
    }
    names, cases, values = asked[metafunc.function]
    rows = [(case, value) for case in cases for value in values if suite == "cpu"]
    return metafunc.parametrize(names, rows, ids=["-".join(row) for row in rows])


@lru_cache(maxsize=1)
def entrants(config: pytest.Config, case: str) -> tuple[Workload, dict[str, Build]]:
    """The case in memory, and its contenders, each made when first asked for."""
    suite, quick, device = (getattr(config.option, n) for n in ("suite", "quick", "device"))
    shape = CASES[suite][case]
    workload = Workload(case, shape.tiny() if quick else shape, torch.device(device))
    return workload, {name: lru_cache(build) for name, build in of_case(suite, case).items()}


@lru_cache(maxsize=1)
def raced(config: pytest.Config, case: str, quantity: str) -> race.Race:
    workload, builds = entrants(config, case)
    racers = {
        name: partial(quantities.racer, workload, quantity, build) for name, build in builds.items()
    }
    return race.Race.of(racers, config)


def test_limit(
    case: str, limit: str, pytestconfig: pytest.Config, benchmark: BenchmarkFixture
) -> None:
    """First of a case, while nothing but its weights is in memory."""
    workload, _ = entrants(pytestconfig, case)
    limits.measure(f"{case} limits", limit, limits.CASE[limit](workload), benchmark)


def test_flow(turn: race.Turn, pytestconfig: pytest.Config, take: Callable[..., None]) -> None:
    take(raced(pytestconfig, *turn.race), turn)


def test_peak_memory(
    case: str,
    contender: str,
    pytestconfig: pytest.Config,
    tell: Callable[[store.Record], None],
    refuse: Callable[[str, str, str], None],
) -> None:
    """Of a process of its own; the time in its row is that of one update step there."""
    group = f"{case} memory"
    try:
        measured = peak_memory.measure_apart(case, contender, pytestconfig.option.quick)
    except Exception as failure:
        refuse(group, contender, race.reason(failure))
    tell(store.timed(group, contender, *measured))
