"""Whole decompositions of ten seconds of sound, beside the plain PyTorch loop.

    dds-fast bench cpu --only W5 --out DIR
    dds-fast bench gpu --only W5 --out DIR

The source is a spectrogram: reading sound needs packages that a machine with a GPU may not have.
Slow contenders do a few update steps, and the time of all of them is extrapolated: their rows say
so. The few steps come before the search leaves out dead entries, so an extrapolated time of
dds_fast is an upper bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from kernels import race
from kernels.accuracy import CHECKED_STEPS, Disagreement, error_ratio
from kernels.cases import DECOMPOSITIONS, FORMER, make_flow
from kernels.contenders import PYTORCH_LOOP
from kernels.devices import timed
from kernels.peers import loop
from kernels.peers.search import AutogradSearch
from kernels.sounds import piano_like
from pytest_benchmark.fixture import BenchmarkFixture

import dds_fast
from dds_fast import Dictionary, Spectrogram, SpectrogramConfig
from dds_fast.search import PAPER, Schedule, SearchSettings
from dds_fast.search.problem import dds_problem

SECONDS = 10.0
EXTRAPOLATED_FROM = 10
GPU_REPEATS = 3
"""So often a search is repeated."""

COST_TOLERANCES = {"float32": 2e-5, "tf32": 3e-4, "bf16x3": 5e-5, "bfloat16": 1e-3}
"""Largest RMS error of the first costs over the RMS of those in float64."""

EXTRAPOLATED = ("W5-dds3",)
"""On a CPU, unless --full; the PyTorch loop always."""

PRECISIONS = {"cpu": ("float32", "bfloat16"), "gpu": ("float32", "tf32", "bf16x3", "bfloat16")}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each case by PyTorch's loop and by dds_fast in each precision of the suite."""
    ours = [f"dds_fast, {name}" for name in PRECISIONS[metafunc.config.getoption("suite")]]
    runs = [(case, contender) for case in DECOMPOSITIONS for contender in (PYTORCH_LOOP, *ours)]
    metafunc.parametrize("case, contender", runs, ids=["-".join(run) for run in runs])


def compressed(wave: np.ndarray, config: SpectrogramConfig) -> Spectrogram:
    """Log-compressed magnitudes, about as `dds_fast.audio.spectrogram` makes them."""
    window = torch.hann_window(config.n_fft)
    stft = torch.stft(
        torch.from_numpy(wave), config.n_fft, config.hop, window=window, return_complex=True
    )
    magnitudes = stft.abs()[1:] * (2 / window.sum())
    values = torch.log1p(config.gamma * magnitudes) / math.log1p(config.gamma)
    return Spectrogram(values.numpy(), config)


@dataclass(frozen=True)
class Setting:
    """What is decomposed, with what, where."""

    dictionary: Dictionary
    search: SearchSettings
    spectrogram: Spectrogram
    device: torch.device

    def decompose(self, precision: str, max_steps: int) -> dds_fast.Decomposition:
        return dds_fast.decompose(
            self.spectrogram,
            self.dictionary,
            precision=precision,
            device=self.device,
            preset="paper",
            max_steps=max_steps,
            n_components=self.search.n_components,
            step_size=self.search.step_size,
            penalty=self.search.penalty,
            sparsity=self.search.sparsity,
        )

    @property
    def checked_steps(self) -> int:
        return CHECKED_STEPS[self.device.type]

    def costs(self) -> np.ndarray:
        """The first costs in float64."""
        return self.decompose("float64", self.checked_steps).history[: self.checked_steps]


@lru_cache(maxsize=1)
def _setting(case: str, quick: bool, device: torch.device) -> tuple[Setting, np.ndarray]:
    """The setting of a case, and its first costs in float64."""
    shape = DECOMPOSITIONS[case]
    if shape is None:
        dictionary = dds_fast.load(dds_fast.PIANO)
        search = FORMER
    else:
        shape = shape.tiny() if quick else shape
        config = SpectrogramConfig.for_features(shape.n_features)
        flow = make_flow(shape, device)
        dictionary = Dictionary.from_flow(flow, range(shape.n_sources), config)
        search = PAPER[shape.kind]
    if quick:
        components = None if search.n_components is None else 2
        search = replace(search, max_steps=5, n_components=components)
    spectrogram = compressed(piano_like(0.5 if quick else SECONDS), dictionary.spectrogram)
    setting = Setting(dictionary, search, spectrogram, device)
    return setting, setting.costs()


def _check(costs: Any, exact: np.ndarray, precision: str) -> dict[str, float]:
    error = error_ratio(torch.tensor(costs[: len(exact)]), torch.tensor(exact))
    if not error <= COST_TOLERANCES[precision]:
        raise Disagreement(
            f"history is off by {error:.1e}, allowed are {COST_TOLERANCES[precision]:.0e}"
        )
    return {"history": error}


def _ours(
    setting: Setting, exact: np.ndarray, precision: str, whole: bool, benchmark: BenchmarkFixture
) -> None:
    """Weights are packed, and kernels compiled, by the short search that is checked."""
    device, n_steps = setting.device, setting.search.max_steps
    checked: list[dds_fast.Decomposition] = []
    first = timed(
        lambda: checked.append(setting.decompose(precision, setting.checked_steps)), device
    )
    info: dict[str, Any] = {"errors": _check(checked[0].history, exact, precision)}
    measured = n_steps if whole else EXTRAPOLATED_FROM
    n_samples = GPU_REPEATS if device.type == "cuda" else 1
    result = benchmark.pedantic(setting.decompose, (precision, measured), rounds=n_samples)
    info |= {"precision": precision, "n_steps": result.n_steps, "stop_reason": result.stop_reason}
    info["entries_alive"] = float((result.activations > 0).any(axis=1).mean())
    info["first_seconds"] = first
    if whole:
        info["cost"] = float(result.history[-1])
    else:
        info["outside"] = timed(lambda: setting.decompose(precision, 0), device)
        info |= {"repeated": n_steps / measured, "extrapolated_from": measured}
        info |= {"n_steps": n_steps, "stop_reason": "extrapolated"}
    benchmark.extra_info |= info


def _pytorch_loop(setting: Setting, exact: np.ndarray, benchmark: BenchmarkFixture) -> None:
    """The search alone: its result is free of charge."""
    dictionary, search, device = setting.dictionary, setting.search, setting.device
    X = torch.from_numpy(setting.spectrogram.values).to(device)
    problem = dds_problem(
        X,
        dictionary.frozen(X.dtype, X.device),
        dictionary.kind,
        n_sources=len(dictionary.sources),
        n_components=search.n_components,
        penalty=search.penalty,
        sparsity=search.sparsity,
    )
    assert dictionary.flow is not None
    decode = loop.decoder(dictionary.flow.requires_grad_(False).to(device))
    schedule = Schedule(search.step_size, search.max_steps)
    steps = AutogradSearch(problem, schedule, decode, share_decode=False)
    steps.advance(setting.checked_steps)
    errors = _check(steps.controller.history, exact, "float32")
    n_timed = 1 if search.max_steps < EXTRAPOLATED_FROM else EXTRAPOLATED_FROM
    benchmark.pedantic(timed, (lambda: steps.advance(n_timed), device), rounds=1)
    benchmark.extra_info |= {
        **{"n_steps": search.max_steps, "extrapolated_from": n_timed},
        **{"errors": errors, "precision": "float32", "stop_reason": "extrapolated"},
        "repeated": search.max_steps / n_timed,
    }


def test_decompose(
    case: str,
    contender: str,
    pytestconfig: pytest.Config,
    refuse: Callable[[str, str, str], None],
    benchmark: BenchmarkFixture,
) -> None:
    benchmark.group = f"{case} decompose"
    benchmark.extra_info["contender"] = contender
    option, device = pytestconfig.option, torch.device(pytestconfig.option.device)
    whole = option.quick or option.full or case not in EXTRAPOLATED or device.type == "cuda"
    try:
        setting, exact = _setting(case, option.quick, device)
        if contender == PYTORCH_LOOP:
            _pytorch_loop(setting, exact, benchmark)
        else:
            _ours(setting, exact, contender.removeprefix("dds_fast, "), whole, benchmark)
    except Exception as refusal:
        refuse(benchmark.group, contender, race.reason(refusal))
