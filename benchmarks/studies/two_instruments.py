"""Two instruments that play the same keys apart, by a dictionary of both.

    python benchmarks two_instruments FLUID -o benchmarks/results/two_instruments.json

FLUID is FluidR3_GM.sf2 (Debian: fluid-soundfont-gm). A source is learned for each key of each
instrument by ``fit(folder, sources="folder/key")`` with its defaults, from notes at two velocities;
the pieces are played at others. SDR, SIR and SAR are those of BSS Eval version 3; onset F1 asks for
the instrument too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import store
from report import markdown

import dds_fast
from dds_fast import metrics
from dds_fast.datasets import Labels, soundfont
from dds_fast.datasets.chords import damped
from dds_fast.notes import grouping

PAIRS = {
    "piano and guitar": {"piano": 0, "guitar": 24},
    "piano and marimba": {"piano": 0, "marimba": 12},
}
KEYS = (48, 50, 52, 53, 55, 57, 59, 60, 62, 64, 65, 67, 69, 71, 72)
HEARD, PLAYED = (50, 100), (70, 85)
"""Velocities to learn from, and to play with."""

SR = 16000
SECONDS = 2.0
BEAT, N_BEATS, LEAD_IN = 0.3, 32, 0.25
SEED = 1
UNTOUCHED, PLAIN = "the mixture itself", "NMF, plain"
METHODS: dict[str, dict[str, Any]] = {
    "nmf": {},
    "dds2": {},
    "dds3": {},
    PLAIN: {"preset": "paper", "max_steps": 400},
}


@cache
def notes(fluid: Path, program: int, velocity: int) -> dict[int, np.ndarray]:
    """``(n,)`` waveforms of an instrument's keys."""
    rendered = soundfont.render(
        fluid, pitches=KEYS, velocities=[velocity], program=program, seconds=SECONDS, sr=SR
    )
    return {note.pitch: note.waveform for note in rendered}


@cache
def learned(fluid: Path, pair: str, kind: str) -> dds_fast.Dictionary:
    with tempfile.TemporaryDirectory() as folder:
        for name, program in PAIRS[pair].items():
            (Path(folder) / name).mkdir()
            for velocity in HEARD:
                for key, wave in notes(fluid, program, velocity).items():
                    soundfile.write(f"{folder}/{name}/{key}_v{velocity}.flac", wave, SR)
        return dds_fast.fit(folder, kind, sources="folder/key")


def pieces(fluid: Path, pair: str, n: int) -> Iterator[tuple[np.ndarray, Labels]]:
    """``(2, n)`` waveforms of the instruments, equally loud, and the notes, instruments as tracks.

    Each walks the white keys from C3 to C5 by itself, a note after the other, one to three beats
    long, now and then with a second one; they meet on the same keys.
    """
    rng = np.random.default_rng(SEED)
    for _ in range(n):
        stems = np.zeros((2, round((2 * LEAD_IN + BEAT * N_BEATS + 1) * SR)), np.float32)
        rows = []
        for stem, (name, program) in zip(stems, PAIRS[pair].items(), strict=True):
            place, beat = int(rng.integers(len(KEYS))), 0
            while beat < N_BEATS:
                length = min(int(rng.integers(1, 4)), N_BEATS - beat)
                places = {place} | ({place - 4} if rng.random() < 0.3 and place >= 4 else set())
                onset = LEAD_IN + BEAT * beat
                for key in (KEYS[p] for p in places):
                    wave = notes(fluid, program, int(rng.choice(PLAYED)))[key]
                    wave = damped(wave, BEAT * length, SR)
                    first = round(onset * SR)
                    stem[first : first + len(wave)] += wave[: len(stem) - first]
                    rows.append((onset, onset + BEAT * length, key, name))
                place = int(np.clip(place + rng.integers(-3, 4), 0, len(KEYS) - 1))
                beat += length
        stems /= np.sqrt(np.square(stems).mean(axis=1, keepdims=True))
        stems *= 0.8 / np.abs(stems.sum(axis=0)).max()
        onsets, ends, keys, names = zip(*sorted(rows), strict=True)
        yield (
            stems,
            Labels(
                np.stack([onsets, ends], axis=1),
                np.array(keys),
                np.full(len(keys), 64.0),
                np.array(names),
            ),
        )


def measure(
    fluid: Path, pair: str, method: str, truth: np.ndarray, labels: Labels
) -> dict[str, Any]:
    """A row; the scores of the mixture itself are those of no separation at all."""
    mixture = truth.sum(axis=0)
    if method == UNTOUCHED:
        return _scores(truth, np.stack([mixture] * 2))
    made = learned(fluid, pair, "nmf" if method == PLAIN else method)
    result = dds_fast.decompose(mixture, made, sr=SR, **METHODS[method])
    stems = result.separate(grouping.of_sources(result.sources, "track"))
    found = metrics.evaluate(result, labels)
    names = ("note_onset_f1", "frame_f1", "psa")
    return {
        **_scores(truth, np.stack([stems[name] for name in PAIRS[pair]])),
        **{name: found[name] for name in names},
    }


def _scores(truth: np.ndarray, stems: np.ndarray) -> dict[str, Any]:
    return {name: np.round(value, 3) for name, value in metrics.bss_eval(truth, stems).items()}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: means over pieces."""
    cells = []
    for pair in PAIRS:
        for method in (UNTOUCHED, *METHODS):
            own = [row for row in rows if (row["pair"], row["method"]) == (pair, method)]
            if not own:
                continue
            sdr = np.mean([row["sdr"] for row in own], axis=0)
            numbers = [f"{value:.1f}" for value in (*sdr, sdr.mean())]
            f1 = ["-"]
            if method != UNTOUCHED:
                f1 = [f"{np.mean([row['note_onset_f1'] for row in own]):.3f}"]
            cells.append([pair, method, *numbers, *f1])
    return markdown(["", "method", "SDR: first", "second", "mean", "onset F1"], cells)


def main() -> None:
    parser = store.parser(__doc__, "fluid")
    parser.add_argument("--pieces", type=int, default=3, help="per pair")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS))
    options = parser.parse_args()
    study = store.Study(
        options.output,
        ("pair", "piece", "method"),
        trial=options.trial,
        about={"heard": HEARD, "played": PLAYED},
        more=("mir_eval", "tinysoundfont"),
        seed=SEED,
    )
    for pair in options.pairs:
        made = list(pieces(options.fluid, pair, options.pieces))
        for method in (UNTOUCHED, *options.methods):
            for number, (truth, labels) in enumerate(made):
                row = partial(measure, options.fluid, pair, method, truth, labels)
                study.add(pair, number, method, measure=row)
    print(table(study.rows))
