"""Five piano notes by NMF, by an autoencoder and by one with an L1 penalty, side by side.

    python benchmarks five_notes DATA -o benchmarks/results/five_notes.json

The illustration of Smaragdis and Venkataramani (arXiv 1609.03296): D, E flat, G, F sharp, G at rank
4. DATA holds ``isol/real_steinway/<midi>_mf.flac``. Draws a figure beside the JSON file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import store
from matplotlib.figure import Figure
from report import save
from scipy.optimize import linear_sum_assignment

import dds_fast
from dds_fast import audio, nmf
from dds_fast.methods import nae
from dds_fast.notes.found import Detection, Note, find_notes
from dds_fast.notes.names import note_name

CONFIG = dds_fast.SpectrogramConfig(sr=8000, n_fft=1024, hop=256, gamma=0)
PITCHES = (62, 63, 67, 66, 67)
TEMPLATES = (62, 63, 66, 67)
START, LENGTH = 0.2, 0.8
"""Seconds of silence before the first note and after the last, and from note to note."""

LEVEL, PENALTY, STEPS = 30.0, 30.0, 400
SEED = 2


@dataclass(frozen=True)
class Explanation:
    """Templates ``(F, 4)`` of unit norm in the order of TEMPLATES, and activations ``(4, T)``.

    `cosines` compares the positive part of each template with the mean spectrum of its note;
    `divergence` is Kullback-Leibler, as a share of the sum of X.
    """

    W: np.ndarray
    H: np.ndarray
    cosines: np.ndarray
    divergence: float

    def notes(self) -> list[Note]:
        """Where an activation exceeds a quarter of the strongest."""
        quarter = float(self.H.max()) / 4
        detection = Detection(upper=quarter, lower=quarter, max_gap=0.1)
        return find_notes(self.H, TEMPLATES, CONFIG.frame_rate, detection)

    def record(self) -> dict[str, object]:
        """What the table shows."""
        energy = self.W**2
        return {
            "divergence_over_sum": round(self.divergence, 4),
            "negative_share": round(float(energy[self.W < 0].sum() / energy.sum()), 4),
            "overlap": round(float(np.sort(self.H, axis=0)[:-1].sum() / self.H.sum()), 4),
            "cosines": [round(float(c), 4) for c in self.cosines],
            "notes": [
                [note.source, round(note.start, 3), round(note.end, 3)] for note in self.notes()
            ],
        }


def melody(data: Path) -> np.ndarray:
    """The notes one after the other, equally strong, each faded out within 50 ms."""
    sr, n = CONFIG.sr, int(LENGTH * CONFIG.sr)
    fade = np.minimum(1, np.arange(n)[::-1] / (0.05 * sr)).astype(np.float32)
    pieces = []
    for pitch in PITCHES:
        note = audio.load(data / "isol" / "real_steinway" / f"{pitch}_mf.flac", sr)
        attack = int(0.01 * sr)
        note = note[attack : attack + n] * fade
        pieces.append(0.1 * note / np.sqrt(np.mean(note**2)))
    silence = np.zeros(int(START * sr), np.float32)
    return np.concatenate([silence, *pieces, silence])


def note_spectra(X: np.ndarray) -> np.ndarray:
    """``(F, 4)`` mean spectra of the notes, of unit norm."""
    times = CONFIG.times(X.shape[1])
    inside = [
        (START + i * LENGTH + 0.05 < times) & (times < START + (i + 1) * LENGTH - 0.1)
        for i in range(len(PITCHES))
    ]
    means = []
    for pitch in TEMPLATES:
        sounding = np.any([i for i, p in zip(inside, PITCHES, strict=True) if p == pitch], axis=0)
        means.append(X[:, sounding].mean(axis=1))
    return np.stack([mean / np.linalg.norm(mean) for mean in means], axis=1)


def _explained(X: np.ndarray, W: np.ndarray, H: np.ndarray, value: float) -> Explanation:
    """In the order that fits the notes best, one template each."""
    positive = np.maximum(W, 0)
    cosines = note_spectra(X).T @ (positive / np.linalg.norm(positive, axis=0).clip(1e-12))
    _, order = linear_sum_assignment(-cosines)
    norms = np.linalg.norm(W, axis=0)
    return Explanation(
        (W / norms)[:, order],
        (H * norms[:, None])[order],
        cosines[np.arange(len(order)), order],
        float(value / X.sum()),
    )


SETTINGS: dict[str, Any] = {"n_steps": STEPS, "tolerance": 0, "random_state": SEED, "device": "cpu"}


def by_nmf(X: np.ndarray) -> Explanation:
    found = nmf.factorize(X, 4, loss="kl", **SETTINGS)
    return _explained(X, found.W, found.H, found.history[-1])


def by_autoencoder(X: np.ndarray, penalty: float) -> Explanation:
    model = nae.fit(X, 4, penalty=penalty, level=LEVEL, **SETTINGS)
    return _explained(X, model.decoder[0].numpy(), model.encode(X), model.divergence(X))


def plot(results: dict[str, Explanation], path: Path) -> None:
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    axes = figure.subplots(len(results), 2, sharex="col")
    names = [note_name(pitch) for pitch in TEMPLATES]
    shown = CONFIG.frequencies < 2000
    for (title, result), (left, right) in zip(results.items(), axes, strict=True):
        times = CONFIG.times(result.H.shape[1])
        for i in range(4):
            colour = f"C{i}"
            W = result.W[shown, i] / np.abs(result.W[:, i]).max()
            left.plot(CONFIG.frequencies[shown], W - 2.2 * i, color=colour, linewidth=0.9)
            left.axhline(-2.2 * i, color="0.8", linewidth=0.5, zorder=0)
            H = result.H[i] / result.H.max()
            right.plot(times, H - 1.1 * i, color=colour, linewidth=1)
            right.axhline(-1.1 * i, color="0.8", linewidth=0.5, zorder=0)
        for k in range(len(PITCHES)):
            right.axvline(START + k * LENGTH, color="0.85", linewidth=0.8, zorder=0)
        left.set_yticks(-2.2 * np.arange(4), names)
        right.set_yticks(-1.1 * np.arange(4), names)
        left.set_title(f"{title}: templates")
        right.set_title("activations")
    axes[-1, 0].set_xlabel("Hz")
    axes[-1, 1].set_xlabel("seconds")
    save(figure, path)


def main() -> None:
    parser = store.parser(__doc__, "data")
    options = parser.parse_args()
    settings = {"level": LEVEL, "penalty": PENALTY, "steps": STEPS, "random_state": SEED}
    study = store.Study(options.output, ("method",), trial=options.trial, about=settings, seed=SEED)
    X = audio.spectrogram(melody(options.data), CONFIG).values
    results = {
        "NMF": by_nmf(X),
        "autoencoder": by_autoencoder(X, 0.0),
        "autoencoder with L1": by_autoencoder(X, PENALTY),
    }
    for name, explained in results.items():
        study.add(name, measure=explained.record)
    plot(results, options.output.with_suffix(".png"))
