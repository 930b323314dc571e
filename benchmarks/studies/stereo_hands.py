"""Two hands of a piano apart at 44.1 kHz and in stereo: what stems at the full rate are worth.

    python benchmarks stereo_hands -o benchmarks/results/stereo_hands.json

Pieces of `studies.two_hands`, each hand played by itself in stereo by a SoundFont (FluidR3 of
Debian's fluid-soundfont-gm, and TimGM6mb, which comes with pretty_midi); their sum is separated
with the exact score. "44.1 kHz" are SDR, SIR and SAR of BSS Eval version 3 and SI-SDR of all
channels as they are, "16 kHz, mono" those of their mean at 16 kHz, comparable with
benchmarks/results/hands.json. "above 8 kHz" is the SI-SDR of what lies there.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
import store
from report import markdown
from studies.hands import score
from studies.two_hands import HANDS, PEAK, written

import dds_fast
from dds_fast import audio, metrics
from dds_fast.datasets import Labels, soundfont
from dds_fast.methods import score_informed

SR, LOW_SR = 44100, 16000
SEED = 1
FONTS = {
    "FluidR3": Path("/usr/share/sounds/sf2/FluidR3_GM.sf2"),
    "TimGM6mb": soundfont.default_soundfont(),
}
METHODS: dict[str, dict[str, Any] | None] = {
    "the mixture itself": None,
    "16 kHz, mono": {"target_sr": LOW_SR, "mono": True},
    "44.1 kHz, masks from 16 kHz": {"config": score_informed.CONFIG},
    "44.1 kHz, whole band": {},
    "44.1 kHz, whole band, onset templates, tight windows": {
        "onset_templates": True,
        "constraints": score_informed.ScoreConstraints(
            note_tolerance=(0.05, 0.2), onset_tolerance=(0.1, 0.1)
        ),
    },
    "44.1 kHz, packaged piano": {"dictionary": dds_fast.PIANO},
}


def played(font: Path, notes: Labels, seconds: float) -> np.ndarray:
    """``(2, 2, n)``: left and right hand, in stereo."""
    hands = []
    assert notes.tracks is not None
    for hand in HANDS:
        mine = notes.select(notes.tracks == hand)
        events = [(on, 1, p, v) for (on, _), p, v in _rows(mine)]
        events += [(off, 0, p, 0) for (_, off), p, _ in _rows(mine)]
        synth = soundfont.synthesizer(font, 0, 0, SR)
        pieces, now = [], 0
        for when, on, pitch, velocity in sorted(events):
            pieces.append(_sound(synth, round(when * SR) - now))
            now = round(when * SR)
            synth.noteon(0, pitch, velocity) if on else synth.noteoff(0, pitch)
        pieces.append(_sound(synth, round(seconds * SR) - now))
        hands.append(np.concatenate(pieces, axis=1))
    stems = np.stack(hands)
    return stems * (PEAK / np.abs(stems.sum(0)).max())


def _rows(notes: Labels) -> list[tuple[tuple[float, float], int, int]]:
    columns = (
        notes.intervals.tolist(),
        notes.pitches.tolist(),
        notes.velocities.astype(int).tolist(),
    )
    return list(zip(*columns, strict=True))


def _sound(synth: Any, n: int) -> np.ndarray:
    if n == 0:
        return np.zeros((2, 0), np.float32)
    return np.frombuffer(synth.generate(n), np.float32).reshape(-1, 2).T


def at_low_rate(stems: np.ndarray) -> np.ndarray:
    """``(2, n)``: the mean of the channels of ``(2, channels, n)`` stems, at 16 kHz."""
    return np.stack([audio.resample(stem.mean(0), sr=SR, target_sr=LOW_SR) for stem in stems])


def high(stems: np.ndarray) -> np.ndarray:
    """What lies above 8 kHz."""
    sections = scipy.signal.butter(8, LOW_SR / 2, "highpass", fs=SR, output="sos")
    return scipy.signal.sosfiltfilt(sections, stems, axis=-1)


def measure(truth: np.ndarray, notes: Labels, options: dict[str, Any] | None) -> dict[str, Any]:
    mixture = truth.sum(0)
    if options is None:
        stems, seconds = np.stack([mixture] * 2), 0.0
    else:
        started = time.perf_counter()
        found = dds_fast.separate(mixture, notes, sr=SR, by="track", **options)
        stems = np.stack([found[hand] for hand in HANDS])
        seconds = time.perf_counter() - started
    row = {"seconds_of_sound": round(mixture.shape[1] / SR, 2), "seconds": round(seconds, 2)}
    if stems.ndim == 2:
        return row | {"16 kHz, mono": score(at_low_rate(truth), stems)}
    channels = [score(truth[:, c], stems[:, c]) for c in range(2)]
    above = [metrics.si_sdr(high(truth[:, c]), high(stems[:, c])) for c in range(2)]
    return row | {
        "largest_difference_from_mixture": float(np.abs(stems.sum(0) - mixture).max()),
        "16 kHz, mono": score(at_low_rate(truth), at_low_rate(stems)),
        "44.1 kHz": {
            name: np.mean([c[name] for c in channels], axis=0).tolist() for name in channels[0]
        },
        "above 8 kHz": np.mean(above, axis=0).round(3).tolist(),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: means over pieces and hands."""
    cells = []
    for method in METHODS:
        mine = [row for row in rows if row["method"] == method]
        if not mine:
            continue
        cell = [method]
        for part, names in (
            ("16 kHz, mono", ("sdr", "sir", "si_sdr")),
            ("44.1 kHz", ("sdr", "sir", "si_sdr")),
        ):
            for name in names:
                values = [row[part][name] for row in mine if part in row]
                cell.append(f"{np.mean(values):.1f}" if values else "-")
        above = [row["above 8 kHz"] for row in mine if "above 8 kHz" in row]
        cells.append([*cell, f"{np.mean(above):.1f}" if above else "-"])
    header = [
        "method",
        *(
            f"{name}, {rate}"
            for rate in ("16 kHz", "44.1 kHz")
            for name in ("SDR", "SIR", "SI-SDR")
        ),
    ]
    return markdown([*header, "SI-SDR above 8 kHz"], cells)


def main() -> None:
    parser = store.parser(__doc__)
    parser.add_argument("--pieces", type=int, default=3, help="per SoundFont")
    options = parser.parse_args()
    study = store.Study(
        options.output,
        ("font", "piece", "method"),
        trial=options.trial,
        more=("librosa", "mir_eval", "tinysoundfont"),
        seed=SEED,
    )
    for font, path in FONTS.items():
        rng = np.random.default_rng(SEED)
        for piece in range(options.pieces):
            notes, seconds = written(rng)
            truth = played(path, notes, seconds)
            for method, how in METHODS.items():
                study.add(font, piece, method, measure=partial(measure, truth, notes, how))
    print(table(study.rows))
