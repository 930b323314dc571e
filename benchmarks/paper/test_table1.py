"""Table I measured: reconstruction and dictionary of each method, over each size.

    dds-fast bench table1 --out DIR

Of every point the time (pytest-benchmark), the counted multiply-adds and bytes, and the peak of
tensor memory are kept. Weights are untrained: the cost does not depend on them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pytest
import torch
from paper.complexity import BACKENDS, PRESETS, Case, cells, counted
from paper.tensor_memory import peak_bytes
from pytest_benchmark.fixture import BenchmarkFixture

SHORTEST = 2e-3
"""Seconds; shorter calls are timed several at a time."""

LONGEST = 5.0
"""Seconds; longer calls are timed once."""

FEWEST_ROUNDS, MOST_ROUNDS = 6, 25
TOLERANCE = 1e-4
"""Largest RMS difference between backends over the RMS."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every point of every cell, the axes of the preset asked for."""
    axes = PRESETS[metafunc.config.getoption("preset")]
    rows = [
        (axis, component, method, value, backend)
        for axis in axes
        for component, method in cells()
        for value in axes[axis].points(component, method)
        for backend in BACKENDS
    ]
    metafunc.parametrize(
        ("axis", "component", "method", "value", "backend"),
        rows,
        ids=["-".join(map(str, (f"axis_{row[0]}", *row[1:]))) for row in rows],
    )


@lru_cache(maxsize=1)
def _case(preset: str, axis: str, component: str, method: str, value: int, device: str) -> Case:
    sizes = PRESETS[preset][axis].sizes(component, value)
    torch.manual_seed(0)
    return Case(component, method, sizes, device)


def _values(result: Any) -> torch.Tensor:
    return result[0] if isinstance(result, tuple) else result


def _synchronized(call: Callable[[], Any], device: str) -> Callable[[], Any]:
    if not device.startswith("cuda"):
        return call

    def synchronized() -> None:
        call()
        torch.cuda.synchronize()

    return synchronized


@torch.no_grad()
def test_table1(
    axis: str,
    component: str,
    method: str,
    value: int,
    backend: str,
    refuse: Callable[[str, str, str], None],
    pytestconfig: pytest.Config,
    benchmark: BenchmarkFixture,
) -> None:
    preset, device = (pytestconfig.getoption(name) for name in ("preset", "device"))
    benchmark.group = f"{component} {axis}"
    contender = f"{method}, {backend}"
    case = _case(preset, axis, component, method, value, device)
    try:
        call = case.call(backend)
    except RuntimeError as refusal:
        refuse(benchmark.group, contender, str(refusal))
    error = 0.0
    if backend != "reference":
        result, expected = _values(call()), _values(case.call("reference")())
        error = float((result - expected).norm() / expected.norm())
        assert error <= TOLERANCE, f"{contender} is off by {error:.1e}"
        del result, expected
    peak = peak_bytes(call, device)
    packed = 0 if backend == "reference" else case.held() - case.unpacked
    workspace = case.workspace(backend, device) if component == "dictionary" else 0
    benchmark.extra_info |= {
        "contender": contender,
        "value": value,
        "sizes": vars(case.sizes),
        "multiply_adds": counted("time", component, method, case.sizes, case.flow),
        "bytes": case.bytes(),
        "other_bytes": packed + workspace,
        "peak_bytes": packed + case.unpacked + peak,
        "error": error,
    }
    timed = _synchronized(call, device)
    start = time.perf_counter()
    timed()
    seconds = time.perf_counter() - start
    budget = pytestconfig.getoption("point_seconds")
    fewest = FEWEST_ROUNDS if seconds < LONGEST else 1
    benchmark.pedantic(
        timed,
        iterations=math.ceil(SHORTEST / seconds),
        rounds=min(max(int(budget / max(seconds, SHORTEST)), fewest), MOST_ROUNDS),
    )
