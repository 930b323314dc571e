"""A picture of what dds_fast and basic-pitch get wrong, on the recordings of `quality`.

    python benchmarks errors_figure DATA -o docs/transcription_errors.png

Frames of the notes found: right, wrong, and missed, at default thresholds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import report
from kernels.peers.basic_pitch import SR, BasicPitch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from studies.quality import DISKLAVIER_DELAY

import dds_fast
from dds_fast import audio
from dds_fast.datasets import Labels, load_labels
from dds_fast.notes.found import to_labels

KEYS = range(36, 96)
EXCERPTS = {
    "slow music (chpn-p4)": ("real/ENSTDkAm/*chpn-p4*.flac", 5.0, 15.0, DISKLAVIER_DELAY),
    "fast music (ty_mai)": ("real/ENSTDkAm/*ty_mai*.flac", 5.0, 15.0, DISKLAVIER_DELAY),
    "a chord of four": ("rand/real_kawai_mix/P4/003.flac", 0.0, 2.2, 0.0),
}
FRAME_RATE = 50.0
OUTCOMES = {"silent": "#ffffff", "right": "#4c78a8", "wrong": "#e45756", "missed": "#f2b134"}


def drawn(ax: Axes, found: Labels, played: Labels, first: float, end: float) -> None:
    """Right, wrong and missed frames of an excerpt."""
    times = np.arange(first, end, 1 / FRAME_RATE)
    ours, true = (notes.only(KEYS).roll(KEYS, times) for notes in (found, played))
    outcome = np.select([true & ours, ours, true], [1, 2, 3], 0)
    used = np.flatnonzero(outcome.any(axis=1))
    keys = slice(max(0, used.min() - 2), used.max() + 3)
    ax.imshow(
        outcome[keys],
        aspect="auto",
        origin="lower",
        interpolation="nearest",
        cmap=ListedColormap(list(OUTCOMES.values())),
        vmin=0,
        vmax=len(OUTCOMES) - 1,
        extent=(first, end, KEYS[keys.start] - 0.5, KEYS[min(keys.stop, len(KEYS)) - 1] + 0.5),
    )
    ax.grid(color="#dddddd", linewidth=0.4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    network = BasicPitch()
    figure, axes = plt.subplots(
        len(EXCERPTS), 2, figsize=(11, 8), sharex="row", sharey="row", layout="constrained"
    )
    for row, (title, (pattern, first, end, delay)) in zip(axes, EXCERPTS.items(), strict=True):
        (path,) = options.data.glob(pattern)
        played = load_labels(path.with_suffix(".txt")).shifted(delay)
        found = {
            "dds_fast": to_labels(dds_fast.decompose(path).notes()),
            "basic-pitch": network.notes(audio.load(path, SR)),
        }
        for ax, (who, notes) in zip(row, found.items(), strict=True):
            drawn(ax, notes, played, first, end)
            ax.set_title(f"{title}: {who}", fontsize=10)
        row[0].set_ylabel("MIDI number")
    for ax in axes[-1]:
        ax.set_xlabel("time in seconds")
    patches = [Patch(color=colour, label=what) for what, colour in list(OUTCOMES.items())[1:]]
    figure.legend(handles=patches, loc="outside lower center", ncols=3, frameon=False)
    report.save(figure, options.output)
