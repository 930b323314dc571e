"""From sound to notes: 10 s, 30 s and five minutes, by dds_fast and by others; stage by stage.

    dds-fast bench cpu --only W7 --out DIR [--data FOLDER]

The sound is made from a seed, or the recordings of a folder one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest
import store
from kernels import race, sound_to_notes, sounds
from kernels.cases import DECOMPOSITIONS, FORMER, SOUNDS, make_flow
from kernels.sound_to_notes import CONTENDERS, Setting
from pytest_benchmark.fixture import BenchmarkFixture

import dds_fast
from dds_fast import Dictionary, SpectrogramConfig

TINY_SECONDS = 0.5
TURNS = 5
"""Of the stages."""


@lru_cache(maxsize=1)
def setting(case: str, quick: bool, full: bool, data: str | None) -> Setting:
    seconds = TINY_SECONDS if quick else SOUNDS[case]
    make = sounds.piano_like if data is None else lambda s: sounds.recorded(Path(data), s)
    if not quick:
        return Setting(make(seconds), dds_fast.load(dds_fast.PIANO), full)
    shape = DECOMPOSITIONS["W5-dds3"].tiny()
    config = SpectrogramConfig.for_features(shape.n_features)
    dictionary = Dictionary.from_flow(make_flow(shape), range(60, 60 + shape.n_sources), config)
    return Setting(make(seconds), dictionary, full, replace(FORMER, max_steps=5, n_components=2))


@lru_cache(maxsize=1)
def raced(made: Setting, seconds: float) -> race.Race:
    return sound_to_notes.raced(made, seconds)


@pytest.fixture
def made(case: str, quick: bool, pytestconfig: pytest.Config) -> Setting:
    return setting(case, quick, pytestconfig.getoption("full"), pytestconfig.getoption("data"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.function is test_notes:
        race.parametrize(metafunc, "case", [((case,), CONTENDERS) for case in SOUNDS])
    else:
        metafunc.parametrize("case", SOUNDS, ids=[f"{case}-stages" for case in SOUNDS])


def test_notes(
    case: str,
    turn: int,
    contender: str,
    made: Setting,
    quick: bool,
    refuse: Callable[[str, str, str], None],
    pytestconfig: pytest.Config,
    benchmark: BenchmarkFixture,
) -> None:
    benchmark.group = f"{case} notes"
    seconds = 0.0 if quick else pytestconfig.getoption("race_seconds")
    raced(made, seconds).time(contender, turn, benchmark, refuse)


def test_stages(
    case: str, made: Setting, quick: bool, tell: Callable[[store.Record], None]
) -> None:
    """Of dds_fast's searches, which hold the watch themselves."""
    for name, (samples, info) in sound_to_notes.watched(made, 1 if quick else TURNS).items():
        tell(store.timed(f"{case} stages", name, samples, info))
