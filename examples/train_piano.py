"""Make the packaged piano dictionary: train, calibrate on a piano left out of training, save.

    python examples/train_piano.py NOTES -o piano.safetensors

NOTES holds one folder of isolated notes per piano; dds_fast/models/piano.md names the sources.
The search settings are those that did best on random chords of the left-out piano (``--search``
measures them again); the note threshold is the one with the best frame F1 on the same chords.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dds_fast
from dds_fast import audio, metrics
from dds_fast.datasets import find_notes, load_notes, random_chords

TRAINING = ("real_steinway", "sf_fluid", "real_c3close", "real_oldbacon")
HELD_OUT = "real_c5"
PITCHES = range(36, 96)
CONFIG = dds_fast.SpectrogramConfig(n_fft=1024)
SEARCH = {
    "n_components": 20,
    "step_size": 1e-3,
    "penalty": 1e-3,
    "sparsity": 0.15,
    "max_steps": 1000,
}
GRID = (
    {"sparsity": 0.0},
    {"sparsity": 0.05},
    {},
    {"sparsity": 0.1},
    {"sparsity": 0.2},
    {"n_components": 10},
    {"penalty": 1e-2},
    {"step_size": 2e-3, "max_steps": 600},
    {"likelihood": "data"},
)
"""What differs from the settings chosen."""

CHORDS_PER_POLYPHONY = 3


def held_out_chords(folder: Path) -> tuple[dds_fast.Spectrogram, np.ndarray]:
    """Chords of 2 to 5 notes, cut to their labels and concatenated, and their piano-roll."""
    recordings = find_notes(folder, PITCHES)
    pieces, rolls = [], []
    for polyphony in (2, 3, 4, 5):
        for waveform, labels in random_chords(
            recordings, polyphony=polyphony, n_chords=CHORDS_PER_POLYPHONY, seed=polyphony
        ):
            X = audio.spectrogram(waveform, CONFIG).values
            roll = labels.roll(PITCHES, CONFIG.times(X.shape[1]))
            live = roll.any(axis=0)
            pieces.append(X[:, live])
            rolls.append(roll[:, live])
    return dds_fast.Spectrogram(np.concatenate(pieces, 1), CONFIG), np.concatenate(rolls, 1)


def score(
    dictionary: dds_fast.Dictionary,
    chords: tuple[dds_fast.Spectrogram, np.ndarray],
    **settings: Any,
) -> dict[str, float]:
    """PSA, sparsity, best frame F1 and its threshold with given search settings."""
    result = dds_fast.decompose(chords[0], dictionary, **settings)
    threshold, f1 = metrics.best_threshold(result.source_activations, chords[1])
    return {
        "psa": metrics.psa(result.source_activations, chords[1]),
        "l0(0.01)": metrics.sparsity(result.source_activations, 1e-2),
        "best_f1": f1,
        "threshold": threshold,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notes", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--search", action="store_true", help="measure the grid of settings")
    parser.add_argument("--overwrite", action="store_true")
    options = parser.parse_args()
    if options.output.exists() and not options.overwrite:
        parser.error(f"{options.output} exists; pass --overwrite to replace it")

    folders = [options.notes / piano for piano in TRAINING]
    folder = options.output.with_suffix(".fit")
    notes = load_notes(folders, CONFIG, pitches=PITCHES)
    trained = dds_fast.fit(notes, "dds3", folder=folder, progress=True)
    trained.save(options.output, dtype=torch.bfloat16, overwrite=options.overwrite)
    dictionary = dds_fast.load(options.output)  # settings and threshold for the rounded weights
    chords = held_out_chords(options.notes / HELD_OUT)
    if options.search:
        for changes in GRID:
            print(changes, score(dictionary, chords, **{**SEARCH, **changes}), flush=True)
    held_out = score(dictionary, chords, **SEARCH)
    print(json.dumps(held_out, indent=1))
    dictionary.metadata |= {
        "name": "piano",
        "search": {"dds3": SEARCH},
        "threshold": {"dds3": held_out["threshold"]},
        "held_out_chords": held_out,
        "card": "dds_fast/models/piano.md",
    }
    dictionary.save(options.output, dtype=torch.bfloat16, overwrite=True)


if __name__ == "__main__":
    main()
