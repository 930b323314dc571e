"""Whole decompositions of ten seconds of sound, beside the plain PyTorch loop.

    dds-fast bench cpu --only W5 --out DIR

Slow contenders do a few update steps, and the time of all of them is extrapolated: their rows say
so. The few steps come before the search leaves out dead entries, so an extrapolated time of
dds_fast is an upper bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import race
import torch
from accuracy import Disagreement, error_ratio
from cases import DECOMPOSITIONS, make_flow
from contenders import PYTORCH_LOOP
from peers import loop
from peers.search import AutogradSearch
from pytest_benchmark.fixture import BenchmarkFixture

import dds_fast
from dds_fast import Dictionary, SpectrogramConfig, audio
from dds_fast.methods import PAPER, SearchSettings, dds
from dds_fast.ops import Schedule

SECONDS = 10.0
SR = 16000
CHECKED_STEPS = 3
EXTRAPOLATED_FROM = 10
COST_TOLERANCES = {"float32": 2e-5, "bfloat16": 1e-3}
"""Largest RMS error of the first costs over the RMS of those in float64."""

EXTRAPOLATED = ("W5-dds3",)
"""Unless --full; the PyTorch loop always."""

CONTENDERS = {
    PYTORCH_LOOP: None,
    "dds_fast, float32": "float32",
    "dds_fast, bfloat16": "bfloat16",
}
RUNS = [(case, contender) for case in DECOMPOSITIONS for contender in CONTENDERS]


def piano_like(seconds: float) -> np.ndarray:
    """Decaying harmonic tones, one or two at a time, from a seed."""
    generator = np.random.default_rng(0)
    t = np.arange(int(seconds * SR)) / SR
    wave = np.zeros_like(t)
    for onset in np.arange(0, seconds, 0.25):
        pitch = generator.integers(40, 90)
        frequency = 440 * 2 ** ((pitch - 69) / 12)
        since = t - onset
        for partial in range(1, 1 + min(8, int(0.45 * SR / frequency))):
            decay = np.exp(-since * (1.5 + 0.7 * partial)) / partial
            tone = decay * np.sin(2 * np.pi * partial * frequency * since)
            wave += np.where(since >= 0, generator.uniform(0.3, 1.0) * tone, 0.0)
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


@dataclass(frozen=True)
class Setting:
    """What is decomposed, with what."""

    dictionary: Dictionary
    search: SearchSettings
    wave: np.ndarray

    def decompose(self, precision: str, max_steps: int) -> dds_fast.Decomposition:
        return dds_fast.decompose(
            self.wave,
            self.dictionary,
            sr=SR,
            precision=precision,
            device="cpu",
            **(asdict(self.search) | {"max_steps": max_steps}),
        )

    def costs(self) -> np.ndarray:
        """The first costs in float64."""
        return self.decompose("float64", CHECKED_STEPS).history[:CHECKED_STEPS]


@lru_cache(maxsize=1)
def _setting(case: str, quick: bool) -> tuple[Setting, np.ndarray]:
    """The setting of a case, and its first costs in float64."""
    shape = DECOMPOSITIONS[case]
    if shape is None:
        dictionary = dds_fast.load(dds_fast.PIANO)
        search = dictionary.search
    else:
        shape = shape.tiny() if quick else shape
        config = SpectrogramConfig(n_fft=2 * shape.n_features)
        dictionary = Dictionary.from_flow(make_flow(shape), range(shape.n_sources), config)
        search = PAPER[shape.kind]
    if quick:
        search = replace(search, max_steps=5, n_components=2)
    setting = Setting(dictionary, search, piano_like(0.5 if quick else SECONDS))
    return setting, setting.costs()


def _check(costs: Any, exact: np.ndarray, precision: str) -> dict[str, float]:
    error = error_ratio(torch.tensor(costs[:CHECKED_STEPS]), torch.tensor(exact))
    if not error <= COST_TOLERANCES[precision]:
        raise Disagreement(
            f"history is off by {error:.1e}, allowed are {COST_TOLERANCES[precision]:.0e}"
        )
    return {"history": error}


def _ours(setting: Setting, exact: np.ndarray, precision: str, whole: bool) -> race.Entry:
    checked = setting.decompose(precision, CHECKED_STEPS)
    info: dict[str, Any] = {"errors": _check(checked.history, exact, precision)}
    n_steps = setting.search.max_steps
    measured = n_steps if whole else EXTRAPOLATED_FROM
    start = time.perf_counter()
    result = setting.decompose(precision, measured)
    seconds = time.perf_counter() - start
    info |= {"precision": precision, "n_steps": result.n_steps, "stop_reason": result.stop_reason}
    info["entries_alive"] = float((result.activations > 0).any(axis=1).mean())
    if not whole:
        start = time.perf_counter()
        setting.decompose(precision, 0)
        outside = time.perf_counter() - start
        seconds = outside + (seconds - outside) * n_steps / measured
        info |= {"n_steps": n_steps, "extrapolated_from": measured, "stop_reason": "extrapolated"}
    return race.Entry([seconds], info=info)


def _pytorch_loop(setting: Setting, exact: np.ndarray) -> race.Entry:
    """The search alone: its spectrogram and result are free of charge."""
    dictionary, search = setting.dictionary, setting.search
    X = torch.from_numpy(audio.spectrogram(setting.wave, dictionary.spectrogram).values)
    problem = dds.problem(
        X,
        dictionary.frozen(X.dtype, X.device),
        dictionary.kind,
        n_sources=len(dictionary.sources),
        n_components=search.n_components,
        penalty=search.penalty,
    )
    assert dictionary.flow is not None
    decode = loop.decoder(dictionary.flow.requires_grad_(False))
    schedule = Schedule(search.step_size, search.max_steps)
    steps = AutogradSearch(problem, schedule, decode, share_decode=False)
    steps.advance(CHECKED_STEPS)
    errors = _check(steps.controller.history, exact, "float32")
    n_timed = 1 if search.max_steps < EXTRAPOLATED_FROM else EXTRAPOLATED_FROM
    start = time.perf_counter()
    steps.advance(n_timed)
    seconds = (time.perf_counter() - start) * search.max_steps / n_timed
    info = {"n_steps": search.max_steps, "extrapolated_from": n_timed}
    info |= {"errors": errors, "precision": "float32", "stop_reason": "extrapolated"}
    return race.Entry([seconds], info=info)


@pytest.mark.benchmark(timer=race.replay_clock)
@pytest.mark.parametrize(("case", "contender"), RUNS, ids=["-".join(run) for run in RUNS])
def test_decompose(
    case: str,
    contender: str,
    quick: bool,
    refuse: Callable[[str, str, str], None],
    pytestconfig: pytest.Config,
    benchmark: BenchmarkFixture,
) -> None:
    benchmark.group = f"{case} decompose"
    precision = CONTENDERS[contender]
    whole = quick or case not in EXTRAPOLATED or pytestconfig.getoption("full")
    setting, exact = _setting(case, quick)
    try:
        if precision is None:
            entry = _pytorch_loop(setting, exact)
        else:
            entry = _ours(setting, exact, precision, whole)
    except race.REFUSALS as refusal:
        refuse(benchmark.group, contender, race.reason(refusal))
    benchmark.extra_info |= {"contender": contender} | entry.info
    race.replay(entry.samples, benchmark)
