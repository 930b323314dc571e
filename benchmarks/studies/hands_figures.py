"""The figures of docs/score_informed.md: two hands of a piano, taken apart with their score.

    python benchmarks hands_figures DATA/isol/real_c5 -o docs

The notes are single notes of a Yamaha C5 (Alexander Holm, Salamander Grand Piano, CC BY 3.0), put
together to a piece whose hands are known.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from studies.two_hands import two_hands

from dds_fast import metrics, plots
from dds_fast.datasets import find_notes
from dds_fast.methods import score_informed
from dds_fast.notes import grouping

SR = 16000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notes", type=Path, help="folder of isolated notes")
    parser.add_argument("-o", "--output", type=Path, default=Path())
    options = parser.parse_args()
    matplotlib.use("Agg")
    recordings = find_notes([options.notes])
    truth, score = next(iter(two_hands(recordings, n_pieces=1, sr=SR, random_state=1)))

    constraints = score_informed.ScoreConstraints(note_tolerance=(0.05, 0.2))
    result = score_informed.decompose(truth.sum(0), score, sr=SR, constraints=constraints)
    hands = grouping.of_notes(score, "track")
    stems = result.separate(hands)
    for name, value in metrics.bss_eval(truth, np.stack([stems["left"], stems["right"]])).items():
        print(f"{name}: left {value[0]:.1f} dB, right {value[1]:.1f} dB")

    pitches, n_frames = np.array(result.sources), len(result.times)
    windows = score_informed.activation_windows(
        score, pitches, n_frames, result.config, tolerance=constraints.note_tolerance
    )
    figure, axes = plt.subplots(2, 2, figsize=(11, 7), layout="constrained", width_ratios=(1, 1.4))
    for row, (W, H, when) in enumerate(
        [
            (score_informed.harmonic_templates(pitches, result.config), windows, "before"),
            (result.components, result.source_activations, "after"),
        ]
    ):
        plots.templates(
            W, result.frequencies, result.sources, title=f"templates {when}", ax=axes[row, 0]
        )
        plots.activations(
            H, result.times, result.sources, title=f"activations {when}", ax=axes[row, 1]
        )
    plots.save_figure(axes[0, 0], options.output / "score_informed_factors.png", overwrite=True)

    figure, axes = plt.subplots(1, 3, figsize=(11, 3), layout="constrained")
    plots.cost(result.history, ax=axes[0])
    axes[0].set(ylabel="Kullback-Leibler divergence", yscale="log")
    masks = result.masks(hands)
    for ax, hand in zip(axes[1:], sorted(hands), strict=True):
        plots.mask(
            masks[hand],
            result.times,
            result.frequencies,
            max_frequency=2000,
            title=f"mask of the {hand} hand",
            ax=ax,
        )
    plots.save_figure(axes[0], options.output / "score_informed_masks.png", overwrite=True)


if __name__ == "__main__":
    main()
