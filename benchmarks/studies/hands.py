"""Two hands of a piano apart: score-informed decomposition and DDS on pieces with known stems.

    python benchmarks hands DATA -o benchmarks/results/hands.json

DATA holds ``isol/<piano>`` (isolated notes, see dds_fast/models/piano.md). The pieces are made of
the notes of two pianos that the packaged dictionary has not heard (`studies.two_hands`,
seeded); every method is given their exact score. Scores are those of BSS Eval version 3 and
SI-SDR, of both hands. Finished rows of the JSON file are kept, so an interrupted run continues.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import store
from report import markdown
from studies.two_hands import HANDS, two_hands

import dds_fast
from dds_fast import metrics
from dds_fast.datasets import Labels, find_notes
from dds_fast.methods import score_informed
from dds_fast.notes import grouping

PIANOS = ("sf_timgm", "real_c5")
SR = 16000
SEED = 1
TIGHT = score_informed.ScoreConstraints(note_tolerance=(0.05, 0.2), onset_tolerance=(0.1, 0.1))

INFORMED: dict[str, dict[str, Any]] = {
    "templates only": {"constraints": "templates"},
    "activations only": {"constraints": "activations"},
    "both": {},
    "both, onset templates": {"onset_templates": True},
    "both, tight windows": {"constraints": TIGHT},
    "both, onset templates, tight windows": {"onset_templates": True, "constraints": TIGHT},
}
DDS = "DDS-3, packaged piano"
METHODS = (*INFORMED, DDS)
UNTOUCHED = "the mixture itself"


def separate(
    method: str, mixture: np.ndarray, notes: Labels, dds_steps: int | None
) -> tuple[np.ndarray, dict[str, Any]]:
    """``(2, n)`` left and right hand, and the settings that were used."""
    if method == DDS:
        # Its precision changes scores less than another seed does: benchmarks/results/precision.
        result = dds_fast.decompose(mixture, sr=SR, precision="bfloat16", max_steps=dds_steps)
    else:
        result = score_informed.decompose(mixture, notes, sr=SR, **INFORMED[method])
    stems = result.separate(grouping.of_notes(notes, "track"))
    return np.stack([stems[hand] for hand in HANDS]), result.settings


def score(truth: np.ndarray, stems: np.ndarray) -> dict[str, list[float]]:
    values = metrics.bss_eval(truth, stems) | {"si_sdr": metrics.si_sdr(truth, stems)}
    return {name: np.round(value, 3).tolist() for name, value in values.items()}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: means over pieces and hands, and the worst hand."""
    cells = []
    for method in (UNTOUCHED, *METHODS):
        scores = [row["scores"] for row in rows if row["method"] == method]
        if not scores:
            continue
        means = [np.mean([s[name] for s in scores]) for name in ("sdr", "sir", "sar", "si_sdr")]
        worst = min(min(s["sdr"]) for s in scores)
        # Two stems that are both the mixture leave no artifacts.
        numbers = [f"{value:.1f}" if value < 100 else "-" for value in (*means, worst)]
        cells.append([method, str(len(scores)), *numbers])
    return markdown(["method", "pieces", "SDR", "SIR", "SAR", "SI-SDR", "worst SDR"], cells)


def measure(method: str, truth: np.ndarray, notes: Labels, dds_steps: int | None) -> dict[str, Any]:
    """A row; the scores of the mixture itself are those of no separation at all."""
    mixture = truth.sum(0)
    if method == UNTOUCHED:
        return {"scores": score(truth, np.stack([mixture] * 2))}
    stems, settings = separate(method, mixture, notes, dds_steps)
    return {
        "scores": score(truth, stems),
        "largest_difference_from_mixture": float(np.abs(stems.sum(0) - mixture).max()),
        "n_notes": len(notes),
        "seconds_of_sound": round(len(mixture) / SR, 2),
        "settings": settings,
    }


def main() -> None:
    parser = store.parser(__doc__, "data")
    parser.add_argument("--pieces", type=int, default=6, help="per piano")
    parser.add_argument("--dds-steps", type=int, help="default: the dictionary's own")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    options = parser.parse_args()
    study = store.Study(
        options.output,
        ("piano", "piece", "method"),
        trial=options.trial,
        more=("librosa", "mir_eval"),
        seed=SEED,
    )
    for piano in PIANOS:
        recordings = find_notes([options.data / "isol" / piano])
        pieces = two_hands(recordings, n_pieces=options.pieces, random_state=SEED)
        for piece, (truth, notes) in enumerate(pieces):
            for method in (UNTOUCHED, *options.methods):
                made = partial(measure, method, truth, notes, options.dds_steps)
                study.add(piano, piece, method, measure=made)
    print(table(study.rows))
