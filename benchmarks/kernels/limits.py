"""What the machine can do at best: memory bandwidth and matrix products, measured by PyTorch, and
multiply-adds on registers alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from kernels.cases import Workload
from kernels.contenders import tf32
from kernels.devices import finish
from pytest_benchmark.fixture import BenchmarkFixture

from dds_fast import _native

ROUNDS = 7
GIGABYTE = 10**9
SQUARE = {"cpu": 4096, "cuda": 8192}


@dataclass(frozen=True)
class Limit:
    """A call, and what it moves or computes."""

    call: Callable[[], Any]
    bytes: int = 0
    multiply_adds: int = 0


def _read(n_bytes: int) -> Limit:
    values = torch.ones(n_bytes // 4)  # zeros may be one page, mapped many times
    return Limit(values.sum, bytes=n_bytes)


def _copy(n_bytes: int, device: str = "cpu") -> Limit:
    source = torch.ones(n_bytes // 4, device=device)
    target = torch.zeros_like(source)
    return Limit(lambda: target.copy_(source), bytes=2 * n_bytes)


def _product(
    groups: int, rows: int, inner: int, columns: int, dtype: torch.dtype, device: str = "cpu"
) -> Limit:
    left = torch.randn(groups, rows, inner, device=device).to(dtype)
    right = torch.randn(groups, inner, columns, device=device).to(dtype)
    target = torch.empty(groups, rows, columns, dtype=dtype, device=device)
    return Limit(
        lambda: torch.bmm(left, right, out=target), multiply_adds=groups * rows * inner * columns
    )


def _square(scale: float, dtype: torch.dtype, device: str = "cpu") -> Limit:
    size = int(SQUARE[device] * scale)
    if dtype == torch.bfloat16 and device == "cpu" and "avx512_bf16" not in _native.cpu().levels():
        size //= 8  # in software it takes a hundred times as long
    return _product(1, size, size, size, dtype, device)


def _registers(scale: float, format: str) -> Limit:
    """Multiply-adds whose operands stay in the registers of all threads: the processor's peak."""
    reason = "needs a build with DDS_FAST_PROBE=ON"
    probe = pytest.importorskip("dds_fast._probe", reason=reason)
    level = _native.cpu().level()
    n_threads, rounds = torch.get_num_threads(), int(10**7 * scale)
    per_round = probe.multiply_registers(level, format, 1, n_threads)
    return Limit(
        lambda: probe.multiply_registers(level, format, rounds, n_threads),
        multiply_adds=rounds * per_round,
    )


def _in_tf32(limit: Limit) -> Limit:
    def call() -> None:
        with tf32():
            limit.call()

    return Limit(call, multiply_adds=limit.multiply_adds)


def _at_shape(workload: Workload, dtype: torch.dtype) -> Limit:
    """A hidden layer's product, with as many matrices as the flow has: none is in a cache."""
    shape = workload.shape
    n_matrices = workload.n_weights // (shape.width * shape.width * shape.n_groups)
    products = [
        _product(shape.n_groups, shape.rows, shape.width, shape.width, dtype)
        for _ in range(n_matrices)
    ]

    def call() -> None:
        for product in products:
            product.call()

    return Limit(call, multiply_adds=sum(product.multiply_adds for product in products))


MACHINE: dict[str, dict[str, Callable[[float], Limit]]] = {
    "cpu": {
        "read 1 GB": lambda scale: _read(int(GIGABYTE * scale)),
        "copy 1 GB": lambda scale: _copy(int(GIGABYTE * scale)),
        "float32 product": lambda scale: _square(scale, torch.float32),
        "bfloat16 product": lambda scale: _square(scale, torch.bfloat16),
        "float32 in registers": lambda scale: _registers(scale, "float32"),
        "bfloat16 in registers": lambda scale: _registers(scale, "bfloat16"),
    },
    "cuda": {
        "copy 4 GB": lambda scale: _copy(int(4 * GIGABYTE * scale), "cuda"),
        "float32 product": lambda scale: _square(scale, torch.float32, "cuda"),
        "tf32 product": lambda scale: _in_tf32(_square(scale, torch.float32, "cuda")),
        "bfloat16 product": lambda scale: _square(scale, torch.bfloat16, "cuda"),
    },
}
"""By type of device, whatever the case; made for a scale of 1, less in a quick run."""

CASE: dict[str, Callable[[Workload], Limit]] = {
    "read the weights": lambda workload: _read(4 * workload.n_weights),
    "float32 product at the case's shape": lambda workload: _at_shape(workload, torch.float32),
    "bfloat16 product at the case's shape": lambda workload: _at_shape(workload, torch.bfloat16),
}
"""At the case's own sizes, on a CPU."""


def measure(
    group: str,
    name: str,
    limit: Limit,
    benchmark: BenchmarkFixture,
    device: torch.device | str = "cpu",
) -> None:
    """Time a limit and note what it amounts to."""
    device = torch.device(device)

    def call() -> None:
        limit.call()
        finish(device)

    benchmark.group = group
    benchmark.extra_info |= {
        "contender": name,
        "bytes": limit.bytes,
        "multiply_adds": limit.multiply_adds,
    }
    benchmark.pedantic(call, rounds=ROUNDS, warmup_rounds=2)
