"""Make the packaged piano dictionary: train, choose codes, calibrate, measure on a piano left out.

    python examples/train_piano.py NOTES -o piano.safetensors

NOTES holds one folder of isolated notes per piano; dds_fast/models/piano.md names the sources.
``--codes-only FILE`` takes the flow of an existing dictionary instead of training one. What a note
is, it learns from mixtures of the pianos that it was trained on; thresholds on the activations
alone are those that do best on random chords and note sequences of the left-out piano, and
``--search`` compares search settings on the same music.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dds_fast
from dds_fast import Decomposition, Dictionary, metrics
from dds_fast.calibration import calibrate, instruments
from dds_fast.codes import add_codes
from dds_fast.datasets import (
    Labels,
    NoteFrames,
    find_notes,
    load_notes,
    random_chords,
    random_sequence,
)
from dds_fast.notes.found import Detection

TRAINING = ("real_steinway", "sf_fluid", "real_c3close", "real_oldbacon")
HELD_OUT = "real_c5"
PITCHES = range(36, 96)
CONFIG = dds_fast.SpectrogramConfig(n_fft=1024)
SEARCH = {
    "algorithm": "staged",
    "max_steps": 66,
    "fixed_updates": 60,
    "step_size": 0.01,
    "penalty": 1e-3,
    "n_components": 4,
    "sparsity": 0.45,
}
GRID = (
    {},
    {"sparsity": 0.3},
    {"sparsity": 0.8},
    {"n_components": 2},
    {"n_components": 8},
    {"penalty": 1e-2},
    {"step_size": 0.005},
    {"step_size": 0.02},
    {"max_steps": 46},
    {"max_steps": 16, "adapt": False},
)
"""What ``--search`` changes in SEARCH."""

N_MIXTURES = 128
"""Of the pianos it was trained on, in turn."""

POLYPHONIES = (2, 3, 4, 5)
N_CHORDS = 8
SEQUENCES = 6
SECONDS = 10.0

UPPER = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0)
LOWER = (0.1, 0.2, 0.35, 0.5, 0.7)
MIN_DURATION = (0.05, 0.1, 0.15)
"""Detections that are tried: upper thresholds, shares of them for the lower one, seconds."""

SCORES = ("psa", "l0(0.01)", "frame_f1", "frame_f1_at_best_threshold", "note_onset_f1")

Music = dict[str, list[tuple[np.ndarray, Labels]]]
"""Waveforms and their notes, by what they are."""

Found = dict[str, list[tuple[Decomposition, Labels]]]


def held_out_music(folder: Path) -> Music:
    """Random chords of 2 to 5 notes, and sequences, of one piano."""
    recordings = find_notes(folder, PITCHES)
    music = {
        f"P{k}": list(random_chords(recordings, polyphony=k, n_chords=N_CHORDS, random_state=k))
        for k in POLYPHONIES
    }
    sequences = [random_sequence(recordings, SECONDS, random_state=n) for n in range(SEQUENCES)]
    return music | {"sequences": sequences}


def decomposed(dictionary: Dictionary, music: Music, search: dict[str, Any]) -> Found:
    """Each piece of the music, searched with such settings."""
    dictionary.metadata["search"] = {"dds3": search}
    return {
        name: [
            (dds_fast.decompose(waveform, dictionary, sr=CONFIG.sr), labels)
            for waveform, labels in pieces
        ]
        for name, pieces in music.items()
    }


def scores(found: Found, detection: Detection) -> dict[str, dict[str, float]]:
    """Means over the pieces of each polyphony and of the sequences."""
    table = {}
    for name, pieces in found.items():
        rows = [metrics.evaluate(replace(r, detection=detection), labels) for r, labels in pieces]
        table[name] = {score: float(np.mean([row[score] for row in rows])) for score in SCORES}
    return table


def quality(table: dict[str, dict[str, float]]) -> float:
    """Mean of frame F1 and onset F1, chords and sequences counting alike."""
    f1 = {name: (row["frame_f1"] + row["note_onset_f1"]) / 2 for name, row in table.items()}
    sequences = f1.pop("sequences")
    return (float(np.mean(list(f1.values()))) + sequences) / 2


def calibrated(found: Found) -> Detection:
    """The detection of the best quality."""
    grid = [
        Detection(upper, share * upper, min_duration)
        for upper, share, min_duration in itertools.product(UPPER, LOWER, MIN_DURATION)
    ]
    return max(grid, key=lambda detection: quality(scores(found, detection)))


def trained(notes: NoteFrames, output: Path, overwrite: bool) -> Dictionary:
    """A flow learned from the notes, its weights rounded as they are stored."""
    made = dds_fast.fit(notes, "dds3", folder=output.with_suffix(".fit"), progress=True)
    made.save(output, dtype=torch.bfloat16, overwrite=overwrite)
    return dds_fast.load(output)


def trained_on(dictionary: Dictionary, notes: NoteFrames) -> NoteFrames:
    """The notes without those that the training held out."""
    config = dictionary.metadata["training"]["config"]
    return notes.split(config["validation"], config["random_state"])[0]


def compare(dictionary: Dictionary, music: Music) -> None:
    """Print how well each of the settings in GRID does, with a detection of its own."""
    for changes in GRID:
        found = decomposed(dictionary, music, {**SEARCH, **changes})
        table = scores(found, calibrated(found))
        print(f"{changes}: {quality(table):.3f}", *_lines(table), sep="\n", flush=True)


def _lines(table: dict[str, dict[str, float]]) -> Sequence[str]:
    return [
        f"  {name:10}" + "".join(f"  {score} {value:.3f}" for score, value in row.items())
        for name, row in table.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notes", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--codes-only", type=Path, metavar="FILE", help="take this one's flow")
    parser.add_argument("--search", action="store_true", help="compare search settings")
    parser.add_argument("--overwrite", action="store_true")
    options = parser.parse_args()
    if options.output.exists() and not options.overwrite:
        parser.error(f"{options.output} exists; pass --overwrite to replace it")

    notes = load_notes([options.notes / piano for piano in TRAINING], CONFIG, pitches=PITCHES)
    if options.codes_only is None:
        dictionary = trained(notes, options.output, options.overwrite)
    else:
        dictionary = dds_fast.load(options.codes_only)
    add_codes(dictionary, trained_on(dictionary, notes))

    music = held_out_music(options.notes / HELD_OUT)
    if options.search:
        compare(dictionary, music)
    found = decomposed(dictionary, music, SEARCH)
    detection = calibrated(found)
    print(detection, f"quality {quality(scores(found, detection)):.3f}")

    recordings = find_notes([options.notes / piano for piano in TRAINING], PITCHES)
    takes = instruments(recordings, CONFIG.sr)
    calibrate(dictionary, takes, n_mixtures=N_MIXTURES, progress=True)
    table = scores(decomposed(dictionary, music, SEARCH), detection)
    print(f"calibrated: quality {quality(table):.3f}", *_lines(table), sep="\n")
    dictionary.metadata |= {
        "name": "piano",
        "detection": {"dds3": asdict(detection)},
        "held_out_music": table,
        "card": "dds_fast/models/piano.md",
    }
    dictionary.metadata.pop("held_out_chords", None)
    dictionary.save(options.output, dtype=torch.bfloat16, overwrite=True)
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
