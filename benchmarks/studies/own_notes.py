"""What a user with an own instrument gets: notes found by a dictionary of its own isolated notes.

    python benchmarks own_notes DATA FLUID -o benchmarks/results/own_notes.json
    ... --by basic-pitch

DATA is as for `quality`; FLUID is FluidR3_GM.sf2 (Debian: fluid-soundfont-gm), the other SoundFont,
TimGM6mb, comes with pretty_midi. A dictionary is made of some takes of each note, calibrates itself
on mixtures of these, and is tried on random chords of other takes: other layers of the same piano,
or another SoundFont's instrument. No labelled recording takes part, and nothing is chosen on the
chords.
"""

from __future__ import annotations

import importlib
import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import scores
import store
from report import markdown
from studies.quality import BASIC_PITCH

import dds_fast
from dds_fast import audio, metrics
from dds_fast.calibration import calibrate, instruments
from dds_fast.datasets import (
    Labels,
    find_notes,
    load_notes,
    random_chords,
    soundfont,
    write_notes,
)
from dds_fast.datasets.note_files import Recording

WINDOWS = {"F = 512": 1024, "F = 1024": 2048}
"""In samples, by what a dictionary is called."""

NETWORK = BASIC_PITCH[0]
SR = dds_fast.SpectrogramConfig.sr
KEYS = range(36, 96)
SCORES = ("psa", "frame_f1", "frame_f1_at_best_threshold", "note_onset_f1", "note_onset_offset_f1")


@dataclass(frozen=True)
class Case:
    """Takes to learn from, and those that chords are mixed from."""

    heard: list[Recording]
    played: list[Recording]


def layers(folder: Path, heard: tuple[str, ...], played: str) -> Case:
    """Two parts of a piano's takes, by their layers."""
    recordings = find_notes(folder, KEYS)

    def of(*names: str) -> list[Recording]:
        return [one for one in recordings if one.path.stem.partition("_")[2] in names]

    return Case(of(*heard), of(played))


def fonts(fluid: Path, folder: Path, program: int, pitches: range) -> Case:
    """An instrument of one SoundFont to learn from, that of another to play."""
    for name, font in (("heard", fluid), ("played", None)):
        write_notes(folder / name, soundfont.render(font, pitches=pitches, program=program))
    return Case(find_notes(folder / "heard"), find_notes(folder / "played"))


def cases(data: Path, fluid: Path, folder: Path) -> dict[str, Callable[[], Case]]:
    """By name; rendered or searched for when asked for."""
    isol = data / "isol"
    return {
        "Yamaha C3": partial(layers, isol / "real_c3close", ("v1", "v5"), "v3"),
        "Steinway": partial(layers, isol / "real_steinway", ("pp", "ff"), "mf"),
        "guitar": partial(fonts, fluid, folder / "guitar", 24, range(40, 80)),
        "marimba": partial(fonts, fluid, folder / "marimba", 12, range(48, 88)),
    }


def learned(
    case: Callable[[], Case],
    name: str,
    n_mixtures: int,
    random_state: int,
    search: Mapping[str, float] | None = None,
) -> dds_fast.Dictionary:
    """Of the frames as they are, calibrated; perhaps with other settings of the search."""
    heard = case().heard
    config = dds_fast.SpectrogramConfig(n_fft=WINDOWS[name])
    dictionary = dds_fast.fit(load_notes(heard, config), "nmf")
    if search:
        dictionary.metadata["search"] = {"nmf": dict(search)}
    takes = instruments(heard, SR)
    calibrate(dictionary, takes, n_mixtures=n_mixtures, random_state=random_state, progress=True)
    return dictionary


def chords(case: Case, polyphony: int, n: int) -> Iterator[tuple[np.ndarray, Labels]]:
    """The same for all who are tried."""
    return random_chords(case.played, polyphony=polyphony, n_chords=n, random_state=polyphony)


def measure(
    dictionary: Callable[[], dds_fast.Dictionary], case: Callable[[], Case], polyphony: int, n: int
) -> dict[str, Any]:
    """Means over chords."""
    rows = []
    for waveform, labels in chords(case(), polyphony, n):
        result = dds_fast.decompose(waveform, dictionary(), sr=SR)
        rows.append(metrics.evaluate(result, labels))
    return {score: float(np.mean([row[score] for row in rows])) for score in SCORES}


def by_basic_pitch(case: Callable[[], Case], polyphony: int, n: int) -> dict[str, Any]:
    """Likewise, of what the network finds among the case's keys."""
    peer = importlib.import_module("studies.quality_basic_pitch")
    model, rows = peer.BasicPitch(), []
    sources = sorted({one.pitch for one in case().played if one.pitch is not None})
    for waveform, labels in chords(case(), polyphony, n):
        X = audio.spectrogram(waveform, dds_fast.SpectrogramConfig())
        chord = scores.Recording(X, labels, 0.0, ((Path(), labels),))
        at_its_rate = audio.resample(waveform, sr=SR, target_sr=peer.SR)
        found = peer.heard(model, at_its_rate, sources)
        own = scores.measure_heard("", NETWORK, chord, sources, lambda *_, found=found: found)
        rows.append(own["scores"])
    return {
        name: float(np.mean([row[name.removeprefix("note_")] for row in rows])) for name in SCORES
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a row per case, polyphony and who finds the notes, means over the seeds."""
    lines = []
    key = itemgetter("case", "by", "polyphony")
    for case, by, polyphony in dict.fromkeys(map(key, rows)):
        own = [row for row in rows if key(row) == (case, by, polyphony)]
        means = (f"{np.mean([row[score] for row in own]):.3f}" for score in SCORES)
        lines.append([case, by, str(polyphony), *means])
    titles = ["PSA", "frame F1", "best-threshold F1", "onset F1", "with offsets"]
    return markdown(["chords of", "found by", "notes", *titles], lines)


def main() -> None:
    parser = store.parser(__doc__, "data", "fluid")
    parser.add_argument("--chords", type=int, default=15, help="per polyphony")
    parser.add_argument("--mixtures", type=int, default=40, help="to calibrate on")
    parser.add_argument("--seeds", type=int, default=2, help="of the calibration")
    parser.add_argument("--polyphonies", type=int, nargs="+", default=[2, 3, 5])
    parser.add_argument("--cases", nargs="+", help="default: all")
    parser.add_argument("--by", nargs="+", choices=(*WINDOWS, NETWORK), default=list(WINDOWS))
    options = parser.parse_args()
    study = store.Study(
        options.output,
        ("case", "by", "seed", "polyphony"),
        trial=options.trial,
        about={"chords": options.chords, "mixtures": options.mixtures},
        more=("tinysoundfont", *(BASIC_PITCH if NETWORK in options.by else ())),
        seed=None,
    )
    with tempfile.TemporaryDirectory() as folder:
        every = cases(options.data, options.fluid, Path(folder))
        for name in options.cases or every:
            case = cache(every[name])
            for by, seed in itertools.product(options.by, range(options.seeds)):
                found_by = partial(by_basic_pitch, case)
                if by != NETWORK:
                    dictionary = cache(partial(learned, case, by, options.mixtures, seed))
                    found_by = partial(measure, dictionary, case)
                elif seed > 0:
                    continue
                for polyphony in options.polyphonies:
                    row = partial(found_by, polyphony, options.chords)
                    study.add(name, by, seed, polyphony, measure=row)
    print(table(study.rows))
