"""What a flow is best trained on: one thing changed at a time, on a piano that takes no part.

    python benchmarks training_choices DATA -o benchmarks/results/training_choices.json

DATA is as for `quality`. Small class-conditional Glows learn one layer of each of four pianos (or
what a row of `CHOICES` makes of it), briefly, and decompose random chords of a Yamaha C5. Scores of
the source activations alone, without calibration: a choice is worth it if it moves them by more
than the seeds do.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import scipy.signal
import soundfile
import store
from report import markdown
from scores import average_precision

import dds_fast
from dds_fast import audio, metrics
from dds_fast.codes import add_codes
from dds_fast.datasets import NoteFrames, find_notes, load_notes, random_chords
from dds_fast.datasets.note_files import Recording

PRESETS = import_module("dds_fast.fit").PRESETS

PIANOS = {"real_steinway": "mf", "sf_fluid": "v88", "real_c3close": "v3", "real_oldbacon": "v1"}
HELD_OUT = "real_c5"
KEYS = range(36, 96)
SOFTER_DB = (-12.0,)
NOISE_DB = -55.0
SECONDS_60_DB, REVERBERATION_DB = 0.5, -8.0
SCORES = ("psa", "average_precision", "frame_f1_at_best_threshold")


@dataclass(frozen=True)
class Choice:
    """What differs from the preset "small"."""

    sound: Callable[[np.ndarray, int], np.ndarray] | None = None
    """Of a second copy of every recording."""
    levels: tuple[float, ...] = ()
    spread: float = 1.0
    n_fft: int = 1024
    n_steps: int = 8
    n_codes: int = 40
    equalizer_db: float = 5.0
    learning_rate: float | None = None
    """At the preset's, spectra of F = 1024 diverge."""


def in_a_room(waveform: np.ndarray, seed: int) -> np.ndarray:
    """With a reverberation of noise."""
    rng = np.random.default_rng(seed)
    n = round(SECONDS_60_DB * 16000)
    tail = rng.normal(size=n) * 10 ** (-3 * np.arange(n) / n)
    tail *= 10 ** (REVERBERATION_DB / 20) / np.linalg.norm(tail)
    tail[0] = 1
    return scipy.signal.fftconvolve(waveform, tail)[: len(waveform)]


def noisy(waveform: np.ndarray, seed: int) -> np.ndarray:
    """With a floor of pink noise."""
    noise = np.fft.rfft(np.random.default_rng(seed).normal(size=len(waveform)))
    pink = np.fft.irfft(noise / np.sqrt(np.arange(len(noise)) + 1), len(waveform))
    return waveform + pink / np.abs(pink).max() * np.abs(waveform).max() * 10 ** (NOISE_DB / 20)


CHOICES = {
    "as it is": Choice(),
    "no equalizer": Choice(equalizer_db=0.0),
    "equalizer of 8 dB": Choice(equalizer_db=8.0),
    "12 dB softer too": Choice(levels=SOFTER_DB),
    "in a room too": Choice(sound=in_a_room),
    "with noise too": Choice(sound=noisy),
    "fewer frames of the decay": Choice(spread=1.3),
    "F = 1024": Choice(n_fft=2048, learning_rate=1e-4),
    "12 steps": Choice(n_steps=12),
    "20 codes": Choice(n_codes=20),
    "80 codes": Choice(n_codes=80),
}


def frames(data: Path, choice: Choice) -> NoteFrames:
    """Of one layer of each piano, changed as the choice says."""
    config = dds_fast.SpectrogramConfig(n_fft=choice.n_fft, hop=512)
    recordings = [one for folder, layer in PIANOS.items() for one in layer_of(data, folder, layer)]
    with tempfile.TemporaryDirectory() as folder:
        if choice.sound is not None:
            for index, one in enumerate(recordings):
                waveform = choice.sound(audio.load(one.path, config.sr), index)
                copy = Path(folder) / one.path.parent.name
                copy.mkdir(exist_ok=True)
                soundfile.write(copy / f"{one.path.stem}.wav", waveform, config.sr, subtype="FLOAT")
            recordings += find_notes(folder, KEYS)
        made = load_notes(recordings, config, spread=choice.spread)
    return made.at_levels(choice.levels, config) if choice.levels else made


def layer_of(data: Path, folder: str, layer: str) -> list[Recording]:
    recordings = find_notes(data / "isol" / folder, KEYS)
    return [one for one in recordings if one.path.stem.partition("_")[2] == layer]


@contextmanager
def equalizer_of(decibels: float) -> Iterator[None]:
    """The preset's training with another equalizer, which `fit` has no option for."""
    small = PRESETS["small"]
    training = {**small.training, "dds3": replace(small.training["dds3"], equalizer_db=decibels)}
    with mock.patch.dict(PRESETS, small=replace(small, training=training)):
        yield


def learned(data: Path, name: str, seed: int, epochs: int) -> dds_fast.Dictionary:
    choice = CHOICES[name]
    notes = frames(data, choice)
    # As many steps whatever the number of frames.
    plain = len(frames(data, CHOICES["as it is"]).frames)
    with equalizer_of(choice.equalizer_db):
        made = dds_fast.fit(
            notes,
            "dds3",
            spectrogram=dds_fast.SpectrogramConfig(n_fft=choice.n_fft, hop=512),
            max_epochs=max(1, round(epochs * plain / len(notes.frames))),
            n_steps=choice.n_steps,
            learning_rate=choice.learning_rate,
            random_state=seed,
        )
    add_codes(made, notes, choice.n_codes, random_state=seed)
    return made


def measure(
    dictionary: Callable[[], dds_fast.Dictionary], data: Path, polyphony: int, n: int
) -> dict[str, Any]:
    """Means over chords of the held-out piano."""
    rows = []
    chords = random_chords(
        find_notes(data / "isol" / HELD_OUT, KEYS),
        polyphony=polyphony,
        n_chords=n,
        random_state=polyphony,
    )
    for waveform, labels in chords:
        result = dds_fast.decompose(waveform, dictionary(), sr=16000)
        roll = labels.roll(result.sources, result.times)
        row = metrics.evaluate(result, labels)
        row["average_precision"] = average_precision(result.source_activations, roll)
        rows.append(row)
    return {score: float(np.mean([row[score] for row in rows])) for score in SCORES}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a row per choice, means over polyphonies, with the spread of the seeds."""
    lines = []
    for name in dict.fromkeys(row["choice"] for row in rows):
        cells = []
        for score in SCORES:
            own = [row for row in rows if row["choice"] == name]
            seeds = dict.fromkeys(row["seed"] for row in own)
            means = [np.mean([row[score] for row in own if row["seed"] == one]) for one in seeds]
            cells.append(f"{np.mean(means):.3f} ± {np.ptp(means) / 2:.3f}")
        lines.append([name, *cells])
    return markdown(["trained on", "PSA", "AP", "best-threshold frame F1"], lines)


def main() -> None:
    parser = store.parser(__doc__, "data")
    parser.add_argument("--chords", type=int, default=6, help="per polyphony")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--choices", nargs="+", choices=CHOICES, default=list(CHOICES))
    options = parser.parse_args()
    study = store.Study(
        options.output,
        ("choice", "seed", "polyphony"),
        trial=options.trial,
        about={"epochs": options.epochs, "chords": options.chords},
    )
    for seed in range(options.seeds):
        for name in options.choices:
            made = cache(partial(learned, options.data, name, seed, options.epochs))
            for polyphony in (2, 3, 4, 5):
                row = partial(measure, made, options.data, polyphony, options.chords)
                study.add(name, seed, polyphony, measure=row)
    print(table(study.rows))
