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
    full_size = DECOMPOSITIONS["W5-dds3"]
    assert full_size is not None
    shape = full_size.tiny()
    config = SpectrogramConfig.for_features(shape.n_features)
    dictionary = Dictionary.from_flow(make_flow(shape), range(60, 60 + shape.n_sources), config)
    return Setting(make(seconds), dictionary, full, replace(FORMER, max_steps=5, n_components=2))


@lru_cache(maxsize=1)
def raced(config: pytest.Config, case: str, _: str) -> race.Race:
    builds = sound_to_notes.racers(made(config, case))
    return race.Race.of(builds, config, n_samples=1)


def made(config: pytest.Config, case: str) -> Setting:
    return setting(case, config.option.quick, config.option.full, config.option.data)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.function is test_notes:
        race.parametrize(metafunc, [((case, "notes"), CONTENDERS) for case in SOUNDS])
    else:
        metafunc.parametrize("case", SOUNDS, ids=[f"{case}-stages" for case in SOUNDS])


def test_notes(turn: race.Turn, pytestconfig: pytest.Config, take: Callable[..., None]) -> None:
    take(raced(pytestconfig, *turn.race), turn)


def test_stages(
    case: str, pytestconfig: pytest.Config, tell: Callable[[store.Record], None]
) -> None:
    """Of dds_fast's searches, which hold the watch themselves."""
    n_turns = 1 if pytestconfig.option.quick else TURNS
    watched = sound_to_notes.watched(made(pytestconfig, case), n_turns)
    for name, (samples, info) in watched.items():
        tell(store.timed(f"{case} stages", name, samples, info))
