"""A training step of the paper's bank beside plain PyTorch: all notes at once, or one by one.

    pytest benchmarks/test_training.py --benchmark-json benchmarks/results/training.json

60 flows of 16 steps, width 128, F = 512, float32; a step is loss, gradient, clipping and Adam for
every flow, with 64 or 512 rows per note. Contenders take turns, each on a copy of the same weights,
after two of their steps were compared with float64. Limits of the same run: the rate of a large
matrix product, and the time to copy memory (Adam reads four numbers a parameter and writes three).
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from functools import cache

import limits
import pytest
import race
import torch
from peers.training import LEARNING_RATE, MAX_NORM, TrainingStep, batched, module_per_note
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from dds_fast.flows import RealNVPBank
from dds_fast.flows.bank_gradients import bank_gradients
from dds_fast.flows.training import clip_gradients

ROWS = (64, 512)
TURNS = {64: 9, 512: 3}
FLOATS_PER_UPDATE = 7
TOLERANCE = 1e-4
"""Relative, of losses after two steps; 2e-6 was measured."""


def ours(bank: RealNVPBank) -> TrainingStep:
    optimizer = torch.optim.Adam(bank.parameters(), lr=LEARNING_RATE, fused=True)

    def step(x: Tensor) -> Tensor:
        losses = bank_gradients(bank, x)
        clip_gradients(bank, bank.n_sources, MAX_NORM)
        optimizer.step()
        return losses

    return step


CONTENDERS: dict[str, Callable[[RealNVPBank], TrainingStep]] = {
    "dds_fast": ours,
    "PyTorch, batched": batched,
    "PyTorch, a module per note": module_per_note,
}


def make_bank(quick: bool, n_sources: int = 60) -> RealNVPBank:
    if quick:
        return RealNVPBank(n_sources, 16, n_steps=2, width=8)
    return RealNVPBank(n_sources, 512)


def spectra(bank: RealNVPBank, rows: int) -> Tensor:
    generator = torch.Generator().manual_seed(rows)
    return torch.rand(bank.n_sources, rows, bank.n_features, generator=generator)


def check(build: Callable[[RealNVPBank], TrainingStep], quick: bool) -> float:
    """The error of the losses after two steps of three flows, against autograd in float64."""
    bank, exact = make_bank(quick, 3), make_bank(quick, 3).double()
    x = spectra(bank, 64)
    step, exact_step = build(bank), batched(exact)
    for _ in range(3):
        losses, expected = step(x), exact_step(x.double())
    error = float(((losses - expected) / expected).abs().max())
    assert error < TOLERANCE, f"losses after two steps are off by {error:.1e}"
    return error


@cache
def raced(rows: int, quick: bool) -> dict[str, race.Entry]:
    entries, racing = {}, {}
    for name, build in CONTENDERS.items():
        entries[name] = race.Entry(info={"errors": {"losses": check(build, quick)}})
        racing[name] = build(make_bank(quick))
    x = spectra(make_bank(quick), rows)
    for turn in range(1 + (2 if quick else TURNS[rows])):
        for name, step in racing.items():
            gc.collect()
            start = time.perf_counter()
            step(x)
            if turn > 0:  # the first makes Adam's moments
                entries[name].samples.append(time.perf_counter() - start)
    return entries


@pytest.mark.benchmark(timer=race.replay_clock)
@pytest.mark.parametrize("contender", CONTENDERS)
@pytest.mark.parametrize("rows", ROWS)
def test_training_step(rows: int, contender: str, quick: bool, benchmark: BenchmarkFixture) -> None:
    bank = make_bank(quick)
    n_weights = sum(p.numel() for p in bank.parameters() if p.ndim == 3)
    n_parameters = sum(p.numel() for p in bank.parameters())
    entry = raced(rows, quick)[contender]
    benchmark.group = f"training step, {rows} rows per note"
    benchmark.extra_info |= entry.info | {
        "contender": contender,
        "multiply_adds": 3 * n_weights * rows,
        "bytes_of_adam": 4 * FLOATS_PER_UPDATE * n_parameters,
    }
    race.replay(entry.samples, benchmark)


@pytest.mark.parametrize("limit", ["float32 product", "copy 1 GB"])
def test_limit(limit: str, quick: bool, benchmark: BenchmarkFixture) -> None:
    limits.measure("limits", limit, limits.MACHINE[limit](0.01 if quick else 0.5), benchmark)
