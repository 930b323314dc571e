"""The figures of docs/separation.md: two hands in stereo, their stems, and the page to listen to.

    python benchmarks stereo_hands_figures -o docs

The screenshot needs Chromium, and is left out where there is none.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import matplotlib
import numpy as np
import store
from matplotlib import pyplot as plt
from studies.stereo_hands import FONTS, SEED, SR, played
from studies.two_hands import HANDS, written

import dds_fast
from dds_fast import audio, plots
from dds_fast.methods import score_informed

CONFIG = score_informed.full_band(SR)
FLOOR = -90.0
"""Decibels below full scale."""


def decibels(waveform: np.ndarray) -> np.ndarray:
    """``(F, T)`` of the left channel."""
    magnitude = audio.spectrogram(np.ascontiguousarray(waveform[0], np.float32), CONFIG).values
    return 20 * np.log10(np.maximum(magnitude, 10 ** (FLOOR / 20)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path())
    options = parser.parse_args()
    matplotlib.use("Agg")
    notes, seconds = written(np.random.default_rng(SEED))
    truth = played(FONTS["FluidR3"], notes, seconds)
    stems = dds_fast.separate(truth.sum(0), notes, sr=SR, by="track")

    figure, axes = plt.subplots(2, 3, figsize=(9, 4.2), layout="constrained", sharey=True)
    panels = [("recording", truth.sum(0)), *((f"{hand}, found", stems[hand]) for hand in HANDS)]
    panels += [("", None), *((f"{hand}, as played", truth[HANDS.index(hand)]) for hand in HANDS)]
    for ax, (title, waveform) in zip(axes.flat, panels, strict=True):
        if waveform is None:
            ax.axis("off")
            continue
        extent = (0, seconds, 0, SR / 2000)
        picture = ax.imshow(
            decibels(waveform), origin="lower", aspect="auto", extent=extent, vmin=FLOOR, vmax=-20
        )
        ax.set(title=title, xlabel="time in s", ylabel="kHz", ylim=(0, 12))
        ax.label_outer()
    figure.colorbar(picture, ax=axes, label="dB")
    plots.save_figure(axes[0, 0], options.output / "separation.png", overwrite=True)

    sys.path.append(str(store.CHECKOUT / "tests"))
    from browser import CHROMIUM, Browser

    if CHROMIUM is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        stems.to_html(page, title="Two hands")
        browser = Browser(Path(folder, "profile"), page.as_uri(), 1000, 620)
        browser.wait("!document.getElementById('play').disabled")
        browser.says("moveTo(3.2)")
        browser.screenshot(options.output / "separation_page.png")
        browser.close()


if __name__ == "__main__":
    main()
