"""Does a score fit, and does alignment find its time? Every recording beside every score.

    python benchmarks alignment DATA -o benchmarks/results/alignment.json

DATA holds ``real/ENSTDkAm`` (two Disklavier recordings with their notes) and ``isol/real_c5``, of
whose notes four pieces for two hands are made. Scores are tried as they are; all are then stretched
by 1.2 and shifted by 0.3 s, and aligned.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import store
from studies.two_hands import two_hands

from dds_fast import audio
from dds_fast.audio import alignment
from dds_fast.datasets import Labels, find_notes, load_labels
from dds_fast.methods.score_informed import CONFIG

STRETCH, SHIFT = 1.2, 0.3


def pieces(data: Path) -> dict[str, tuple[np.ndarray, Labels]]:
    """STFT and notes by name."""
    found = {}
    for path in sorted((data / "real" / "ENSTDkAm").glob("*.flac")):
        stft = audio.stft(audio.load(path, CONFIG.sr), CONFIG)
        found[path.stem] = stft, load_labels(path.with_suffix(".txt"))
    notes = find_notes([data / "isol" / "real_c5"])
    for number, (stems, labels) in enumerate(two_hands(notes, n_pieces=4, random_state=1)):
        found[f"two hands {number}"] = audio.stft(stems.sum(0), CONFIG), labels
    return found


def row(recording: str, score: str, stft: np.ndarray, labels: Labels) -> dict[str, Any]:
    bent = replace(labels, intervals=labels.intervals * STRETCH + SHIFT)
    aligned = alignment.align(bent, stft, CONFIG)
    result: dict[str, Any] = {
        "fit": alignment.fit(labels, stft, CONFIG),
        "fit_bent": alignment.fit(bent, stft, CONFIG),
        "fit_aligned": alignment.fit(aligned, stft, CONFIG),
    }
    if recording == score:
        errors = np.abs(aligned.intervals[:, 0] - labels.intervals[:, 0])
        result["onset_error_s"] = {"median": np.median(errors), "90 %": np.quantile(errors, 0.9)}
    return result


def main() -> None:
    parser = store.parser(__doc__, "data")
    options = parser.parse_args()
    study = store.Study(options.output, ("recording", "score"), trial=options.trial, seed=1)
    found = pieces(options.data)
    for recording, (stft, _) in found.items():
        for score, (_, labels) in found.items():
            tried = partial(row, recording, score, stft, labels)
            study.add(recording, score, measure=tried)
    rows = study.rows
    for right in (True, False):
        chosen = [r for r in rows if (r["recording"] == r["score"]) == right]
        for key in ("fit", "fit_bent", "fit_aligned"):
            values = [r[key] for r in chosen]
            name = "right" if right else "wrong"
            print(f"{name} scores, {key}: {min(values):.2f} to {max(values):.2f}")
    for r in rows:
        if "onset_error_s" in r:
            print(r["recording"], {name: round(v, 3) for name, v in r["onset_error_s"].items()})
