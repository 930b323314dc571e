"""Who goes from a waveform to notes: dds_fast, the search that it replaces, and peers.

All but basic-pitch begin with the library's spectrogram and end with its notes; all but that and
the former search look for the same entries, decoded from the same codes.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from kernels import race
from kernels.accuracy import Disagreement, error_ratio
from kernels.cases import FORMER
from kernels.devices import timed
from kernels.peers import batched, fixed_nmf
from kernels.peers import staged as plain_staged
from kernels.sounds import SR
from kernels.stages import Watch, n_found, staged_problem, total

import dds_fast
from dds_fast import Dictionary, audio
from dds_fast.audio.recordings import read
from dds_fast.search import Schedule, SearchSettings, State, staged
from dds_fast.search.settings import preset_settings

CPU = torch.device("cpu")
EXCERPT = 2.0
"""Seconds that are searched in float64 too."""

TOLERANCES = {"float32": 1e-4, "bfloat16": 2e-3}
"""Largest RMS error of all costs of a search over the RMS of those in float64. Which entries die
hangs on rounding, and every search goes its own way from there on: 2e-6 and 9e-5 were seen."""

LONGEST_CD = 30.0
"""Seconds of sound: for longer ones it is left out."""

FORMER_STEPS = 10
NMF_ITERATIONS = {"mu": 20, "cd": 2}
"""What is extrapolated is measured so."""

PRECISIONS = ("float32", "bfloat16")


@contextmanager
def _none_left_out() -> Iterator[None]:
    """Let the library's search leave no dead entries out, as PyTorch's does here."""
    before, staged.DEAD = staged.DEAD, 0.0
    try:
        yield
    finally:
        staged.DEAD = before


@dataclass(eq=False)
class Setting:
    """A sound, what it is decomposed into, and how it was before (`former`)."""

    wave: np.ndarray
    dictionary: Dictionary
    full: bool = False
    former: SearchSettings = FORMER
    exact_costs: dict[tuple[str | None, bool], np.ndarray] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return len(self.wave) / SR

    @property
    def excerpt(self) -> np.ndarray:
        return self.wave[: int(EXCERPT * SR)]

    def settings(self, preset: str | None = None) -> SearchSettings:
        own = self.dictionary.search
        return own if preset is None else preset_settings(preset, self.dictionary.kind, own)

    def decompose(self, wave: np.ndarray, **options: Any) -> dds_fast.Decomposition:
        return dds_fast.decompose(wave, self.dictionary, sr=SR, device=CPU, **options)

    def spectrogram(self, wave: np.ndarray) -> torch.Tensor:
        return read(wave, SR, self.dictionary.spectrogram).X

    def check(
        self, costs: Any, preset: str | None, tolerance: float, *, drops: bool = True
    ) -> dict[str, float]:
        """Compare costs of the excerpt with those of the reference in float64.

        `drops`: whether dead entries are left out.
        """
        key = preset, drops
        if key not in self.exact_costs:
            with nullcontext() if drops else _none_left_out():
                result = self.decompose(self.excerpt, precision="float64", preset=preset)
            self.exact_costs[key] = result.history
        error = error_ratio(torch.tensor(np.array(costs)), torch.tensor(self.exact_costs[key]))
        if not error <= tolerance:
            raise Disagreement(f"history is off by {error:.1e}, allowed are {tolerance:.0e}")
        return {"history": error}

    @cached_property
    def norm(self) -> float:
        return float(self.spectrogram(self.wave).double().norm())

    def residual(self, approximation: Any) -> float:
        """``||X - W H|| / ||X||``."""
        X = self.spectrogram(self.wave)
        return float((X - torch.as_tensor(approximation)).norm()) / self.norm

    @cached_property
    def entries(self) -> torch.Tensor:
        """``(F, J)`` entries of the codes with which a staged search begins."""
        problem = staged_problem(self.spectrogram(self.excerpt), self.dictionary, self.settings())
        assert problem.flow is not None and problem.Z is not None
        with torch.no_grad():
            return batched.decoder(problem.flow)(problem.Z)[0].clamp_min(0).flatten(0, 1).T

    @cached_property
    def labels(self) -> torch.Tensor:
        n_sources = len(self.dictionary.sources)
        return torch.arange(n_sources).repeat_interleave(self.entries.shape[1] // n_sources)


def _contender(
    call: Callable[[], Any],
    info: dict[str, Any],
    outcome: Callable[[Any], dict[str, Any]] = lambda _: {},
    warm_up: Callable[[], Any] = lambda: None,
) -> race.Racer:
    """One way from sound to notes; `outcome` tells of what `call` returned last."""
    last: list[Any] = [None]

    def keep() -> None:
        last[0] = call()

    def prepare() -> Iterator[race.Calls]:
        warm_up()
        while True:
            yield race.again(keep)

    return race.Racer(prepare, info, outcome=lambda: outcome(last[0]))


def _to_notes(result: dds_fast.Decomposition) -> tuple[dds_fast.Decomposition, int]:
    return result, len(result.notes())


def _searched(setting: Setting, last: tuple[dds_fast.Decomposition, int]) -> dict[str, Any]:
    result, n_notes = last
    outcome: dict[str, Any] = {
        "residual": setting.residual(result.reconstruction()),
        "n_notes": n_notes,
        "n_windows": len(result.windows),
    }
    if len(result.windows) == 1:
        outcome["cost"] = float(result.history[-1])
    return outcome


def _ours(setting: Setting, precision: str, preset: str | None) -> race.Racer:
    options = {"precision": precision, "preset": preset}
    checked = setting.decompose(setting.excerpt, **options)
    errors = setting.check(checked.history, preset, TOLERANCES[precision])
    watch = Watch(setting.dictionary, setting.settings(preset), precision)
    info = {
        "precision": precision,
        "errors": errors,
        "n_steps": checked.n_steps,
        "multiply_adds": dict(total(watch.run(setting.wave))),
    }
    return _contender(
        lambda: _to_notes(setting.decompose(setting.wave, **options)),
        info,
        partial(_searched, setting),
        warm_up=lambda: setting.decompose(setting.excerpt, **options),
    )


def _former(setting: Setting) -> race.Racer:
    """The gradient search, whole or by its first steps, before entries die."""
    former = setting.former
    options = {
        "preset": "paper",
        "n_components": former.n_components,
        "step_size": former.step_size,
        "penalty": former.penalty,
        "sparsity": former.sparsity,
    }
    exact, checked = (
        setting.decompose(setting.excerpt, precision=precision, max_steps=3, **options).history
        for precision in ("float64", "float32")
    )
    error = error_ratio(torch.tensor(checked), torch.tensor(exact))
    if not error <= TOLERANCES["float32"]:
        raise Disagreement(f"history is off by {error:.1e}")
    info = {"precision": "float32", "errors": {"history": error}, "n_steps": former.max_steps}

    def run(max_steps: int) -> tuple[dds_fast.Decomposition, int]:
        return _to_notes(setting.decompose(setting.wave, max_steps=max_steps, **options))

    if setting.full:
        return _contender(partial(run, former.max_steps), info, partial(_searched, setting))
    return _contender(
        partial(run, FORMER_STEPS),
        info
        | {
            "extrapolated_from": FORMER_STEPS,
            "outside": timed(partial(run, 0), CPU),
            "repeated": former.max_steps / FORMER_STEPS,
        },
    )


def _plain(setting: Setting) -> race.Racer:
    settings = setting.settings()
    schedule = Schedule(settings.step_size, settings.max_steps)

    def search(wave: np.ndarray) -> tuple[list[float], State]:
        problem = staged_problem(setting.spectrogram(wave), setting.dictionary, settings)
        return plain_staged.search(problem, schedule)

    def run() -> tuple[float, State, int]:
        costs, state = search(setting.wave)
        n_notes = n_found(setting.dictionary, state)
        return costs[-1], state, n_notes

    def outcome(last: tuple[float, State, int]) -> dict[str, Any]:
        cost, state, n_notes = last
        return {"cost": cost, "residual": setting.residual(state.W @ state.H), "n_notes": n_notes}

    errors = setting.check(search(setting.excerpt)[0], None, TOLERANCES["float32"], drops=False)
    return _contender(
        run,
        {"precision": "float32", "errors": errors, "n_steps": settings.max_steps},
        outcome,
        warm_up=lambda: search(setting.excerpt),
    )


def _nmf(setting: Setting, solver: str) -> race.Racer:
    """scikit-learn on the entries of the codes: as many iterations as a staged search has updates
    of the activations."""
    if solver == "cd" and setting.seconds > LONGEST_CD:
        raise RuntimeError(f"coordinate descent takes minutes for more than {LONGEST_CD:g} s")
    W = setting.entries.numpy()

    def run(n_iterations: int) -> tuple[torch.Tensor, int]:
        X = setting.spectrogram(setting.wave).numpy()
        H = torch.tensor(fixed_nmf.activations(X, W, solver, n_iterations))
        state = State(setting.entries, H, None, setting.labels)
        return H, n_found(setting.dictionary, state)

    def outcome(last: tuple[torch.Tensor, int]) -> dict[str, Any]:
        return {"residual": setting.residual(setting.entries @ last[0]), "n_notes": last[1]}

    settings = setting.settings()
    n_wanted = settings.fixed_updates + settings.updates_per_step * (
        settings.max_steps - -(-settings.fixed_updates // staged.LOOK_EVERY)
    )
    n_timed = NMF_ITERATIONS[solver]
    return _contender(
        partial(run, 1 + n_timed),
        {
            "precision": "float32",
            "versions": fixed_nmf.VERSIONS,
            "n_steps": n_wanted,
            "extrapolated_from": 1 + n_timed,
            "outside": min(timed(partial(run, 1), CPU) for _ in range(2)),
            "repeated": (n_wanted - 1) / n_timed,
        },
        outcome,
    )


def _basic_pitch(setting: Setting) -> race.Racer:
    """The waveform at its own rate is free of charge."""
    peer = importlib.import_module("kernels.peers.basic_pitch")
    wave = audio.resample(setting.wave, sr=SR, target_sr=peer.SR)
    model = peer.BasicPitch()
    return _contender(
        lambda: model.notes(wave),
        {"precision": "float32", "versions": peer.VERSIONS},
        lambda notes: {"n_notes": len(notes)},
        warm_up=lambda: model.notes(wave[: int(EXCERPT * peer.SR)]),
    )


def _preset(name: str | None) -> str:
    return "" if name is None else f"preset {name}, "


OURS = {
    f"dds_fast, {_preset(preset)}{precision}": (precision, preset)
    for preset in (None, "fast")
    for precision in PRECISIONS
}
MAIN = "dds_fast, float32"
CONTENDERS: Mapping[str, Callable[[Setting], race.Racer]] = {
    **{name: partial(_ours, precision=p, preset=preset) for name, (p, preset) in OURS.items()},
    "dds_fast, gradient search": _former,
    "PyTorch, autograd": _plain,
    "scikit-learn NMF, mu": partial(_nmf, solver="mu"),
    "scikit-learn NMF, cd": partial(_nmf, solver="cd"),
    "basic-pitch": _basic_pitch,
}


def racers(setting: Setting) -> dict[str, Callable[[], race.Racer]]:
    """All of them, from sound to notes."""
    return {name: partial(_racer, setting, name) for name in CONTENDERS}


def _racer(setting: Setting, name: str) -> race.Racer:
    made = CONTENDERS[name](setting)
    made.info["sound_seconds"] = setting.seconds
    return made


def watched(setting: Setting, n_turns: int) -> dict[str, tuple[list[float], dict[str, Any]]]:
    """The stages of dds_fast's searches, these in turn: seconds, and what to tell of them."""
    found: dict[str, tuple[list[float], dict[str, Any]]] = {}
    watches = {
        name: Watch(setting.dictionary, setting.settings(preset), precision)
        for name, (precision, preset) in OURS.items()
    }
    for watch in watches.values():
        watch.run(setting.excerpt)
    for _ in range(n_turns):
        for search, watch in watches.items():
            for name, stage in watch.run(setting.wave).items():
                info = {"search": search, "stage": name, "multiply_adds": dict(stage.multiply_adds)}
                found.setdefault(f"{search}: {name}", ([], info))[0].append(stage.seconds)
    return found
