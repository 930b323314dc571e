"""A training step beside plain PyTorch: a bank of notes at once or one by one, or a Glow.

    pytest benchmarks/kernels/test_training.py --benchmark-json benchmarks/results/training.json
    dds-fast bench gpu --only W6 --out DIR

A bank of 60 flows of 16 steps, width 128, and on a GPU a Glow of 32 steps, width 1024; F = 512. A
step is loss, gradient, clipping (of every flow by itself) and Adam. Contenders take turns, each on
a copy of the same weights, after a few of their steps were compared with float64. Limits of the
same run: the rate of a large matrix product, and the time to copy memory (Adam reads four numbers a
parameter and writes three).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, partial

import pytest
import torch
from kernels import limits, race
from kernels.accuracy import Disagreement
from kernels.cases import TRAININGS, Shape, make_flow
from kernels.peers.training import LEARNING_RATE, MAX_NORM, TrainingStep, batched, module_per_note
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from dds_fast.flows import ConditionalGlow, RealNVPBank
from dds_fast.flows.cuda_graph import WARM_UP
from dds_fast.flows.training.bank_gradients import bank_gradients
from dds_fast.flows.training.gradient import ClippedGradient, clip_gradients
from dds_fast.flows.training.loop import product_precision
from dds_fast.flows.training.losses import glow_loss

SHAPES = {
    "dds2": Shape("dds2", 512, 128, 1),
    "dds3": Shape("dds3", 512, 1024, 1, n_steps=32),
}
FLOATS_PER_UPDATE = 7
CHECKED_SOURCES = 3
TOLERANCES = {"float32": 1e-4, "tf32": 1e-2, "bfloat16": 3e-2}
"""Relative, of losses after a few steps; 2e-6 was measured for a bank in float32."""


@dataclass(frozen=True)
class Training:
    """A flow on random spectra.

    Attributes:
        x: ``(S, rows, F)`` of a bank, ``(rows, F)`` of a Glow.
    """

    flow: RealNVPBank | ConditionalGlow
    x: Tensor

    @classmethod
    def of(
        cls, case: str, device: torch.device, quick: bool, n_sources: int | None = None
    ) -> Training:
        _, kind, rows = case.split("-")
        shape = SHAPES[kind].tiny() if quick else SHAPES[kind]
        if n_sources is not None and kind == "dds2":
            shape = replace(shape, n_sources=n_sources)
        flow = make_flow(shape, device).requires_grad_(True)
        n_rows = int(rows) if n_sources is None else 64
        size = (shape.n_sources, n_rows) if kind == "dds2" else (n_rows,)
        generator = torch.Generator().manual_seed(n_rows)
        return cls(flow, torch.rand(*size, shape.n_features, generator=generator).to(device))

    @property
    def n_groups(self) -> int:
        return self.flow.n_sources if isinstance(self.flow, RealNVPBank) else 1

    @property
    def bank(self) -> RealNVPBank:
        assert isinstance(self.flow, RealNVPBank)
        return self.flow

    def gradient(self, precision: str, x: Tensor) -> Tensor:
        """As the library trains: by hand for a bank, by autograd for a Glow."""
        device = self.x.device
        if isinstance(self.flow, RealNVPBank):
            with product_precision(precision, device):
                return bank_gradients(self.flow, x, precision=precision)
        self.flow.zero_grad()
        labels = torch.arange(len(x), device=device) % self.flow.n_sources
        with product_precision(precision, device):
            loss = glow_loss(self.flow, x, labels).mean()
            with torch.autocast(device.type, enabled=False):
                loss.backward()
        return loss.detach()[None]


def ours(training: Training, precision: str = "float32", graphed: bool = True) -> TrainingStep:
    """The library's own step; a CUDA graph only on a GPU."""
    flow, device = training.flow, training.x.device
    optimizer = torch.optim.Adam(flow.parameters(), lr=LEARNING_RATE, fused=True)
    gradient = partial(training.gradient, precision)
    clipped = ClippedGradient(flow, gradient, training.n_groups, MAX_NORM, device)

    def step(x: Tensor) -> Tensor:
        if graphed:
            losses, _ = clipped(x)
        else:
            losses = gradient(x)
            clip_gradients(flow, training.n_groups, MAX_NORM)
        optimizer.step()
        return losses

    return step


Build = Callable[[Training], TrainingStep]
PEERS: dict[str, Build] = {
    "PyTorch, batched": lambda training: batched(training.bank),
    "PyTorch, a module per note": lambda training: module_per_note(training.bank),
}
OURS: dict[str, Build] = {"dds_fast": ours}
GPU_OURS: dict[str, Build] = {
    "dds_fast, float32, not graphed": partial(ours, graphed=False),
    **{f"dds_fast, {p}": partial(ours, precision=p) for p in TOLERANCES},
}


def contenders(suite: str, case: str) -> dict[str, Build]:
    """Of a Glow there is only ours: its training is PyTorch, and what is not graphed its peer."""
    peers: dict[str, Build] = PEERS if "dds2" in case else {}
    return peers | (GPU_OURS if suite == "gpu" else OURS)


def cases(suite: str) -> list[str]:
    return [case for case in TRAININGS if suite == "gpu" or "dds2" in case]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    suite = metafunc.config.option.suite
    if metafunc.function is test_training_step:
        races = [((case, "training"), contenders(suite, case)) for case in cases(suite)]
        race.parametrize(metafunc, races)
    else:
        metafunc.parametrize("limit", ["float32 product", "copy 1 GB"] if suite == "cpu" else [])


def precision_of(contender: str) -> str:
    words = contender.split(", ")
    return next((p for p in TOLERANCES if p in words), "float32")


def check(build: Build, case: str, quick: bool, device: torch.device, precision: str) -> float:
    """The error of the losses after a few steps of few flows, against float64 by hand or autograd.

    Raises:
        Disagreement: it exceeds its tolerance.
    """
    training = Training.of(case, device, quick, CHECKED_SOURCES)
    exact = Training(deepcopy(training.flow).double(), training.x.double())
    step = build(training)
    exact_step = batched(exact.bank) if "dds2" in case else ours(exact, graphed=False)
    for _ in range(WARM_UP + 2):
        losses, expected = step(training.x), exact_step(exact.x)
    error = float(((losses - expected) / expected).abs().max())
    if not error < TOLERANCES[precision]:
        raise Disagreement(f"losses after a few steps are off by {error:.1e}")
    return error


def racer(build: Build, case: str, quick: bool, device: torch.device, precision: str) -> race.Racer:
    error = check(build, case, quick, device, precision)
    training = Training.of(case, device, quick)
    step = build(training)
    for _ in range(WARM_UP + 1 if device.type == "cuda" else 1):  # the first makes Adam's moments
        step(training.x)

    def prepare() -> Iterator[race.Calls]:
        while True:
            yield race.again(partial(step, training.x))

    weights = [p for p in training.flow.parameters() if p.ndim > 1]
    rows = training.x.shape[-2]
    info = {
        "precision": precision,
        "errors": {"losses": error},
        "multiply_adds": 3 * sum(w.numel() for w in weights) * rows,
        "bytes_of_adam": 4 * FLOATS_PER_UPDATE * sum(p.numel() for p in training.flow.parameters()),
    }
    return race.Racer(prepare, info)


@cache
def raced(config: pytest.Config, case: str, _: str) -> race.Race:
    quick, device = config.option.quick, torch.device(config.option.device)
    racers = {
        name: partial(racer, build, case, quick, device, precision_of(name))
        for name, build in contenders(config.option.suite, case).items()
    }
    return race.Race.of(racers, config)


def test_training_step(
    turn: race.Turn, pytestconfig: pytest.Config, take: Callable[..., None]
) -> None:
    take(raced(pytestconfig, *turn.race), turn)


def test_limit(limit: str, pytestconfig: pytest.Config, benchmark: BenchmarkFixture) -> None:
    made = limits.MACHINE["cpu"][limit](0.01 if pytestconfig.option.quick else 0.5)
    limits.measure("limits", limit, made, benchmark)
