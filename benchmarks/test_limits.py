"""What the machine can do at best, whatever the case: memory bandwidth and matrix products."""

from __future__ import annotations

import limits
import pytest
from pytest_benchmark.fixture import BenchmarkFixture


@pytest.mark.parametrize("limit", limits.MACHINE)
def test_machine(limit: str, quick: bool, benchmark: BenchmarkFixture) -> None:
    limits.measure("machine limits", limit, limits.MACHINE[limit](0.01 if quick else 1), benchmark)
