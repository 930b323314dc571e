"""What the machine can do at best, whatever the case: memory bandwidth and matrix products."""

from __future__ import annotations

import pytest
import torch
from kernels import limits
from pytest_benchmark.fixture import BenchmarkFixture


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    device = torch.device(metafunc.config.option.device)
    metafunc.parametrize("limit", limits.MACHINE[device.type])


def test_machine(limit: str, pytestconfig: pytest.Config, benchmark: BenchmarkFixture) -> None:
    device = torch.device(pytestconfig.option.device)
    made = limits.MACHINE[device.type][limit](0.01 if pytestconfig.option.quick else 1)
    limits.measure("machine limits", limit, made, benchmark, device)
