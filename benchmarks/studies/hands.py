"""Two hands of a piano apart: score-informed decomposition and DDS on pieces with known stems.

    python benchmarks/hands.py DATA -o benchmarks/results/hands.json

DATA holds ``isol/<piano>`` (isolated notes, see dds_fast/models/piano.md). The pieces are made of
the notes of two pianos that the packaged dictionary has not heard (`dds_fast.datasets.two_hands`,
seeded); every method is given their exact score. Scores are those of BSS Eval version 3 and
SI-SDR, of both hands. Finished rows of the JSON file are kept, so an interrupted run continues.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import librosa
import mir_eval
import numpy as np
import torch

import dds_fast
from dds_fast import grouping, metrics
from dds_fast.datasets import Labels, find_notes, two_hands
from dds_fast.datasets.hands import HANDS
from dds_fast.methods import score_informed

PIANOS = ("sf_timgm", "real_c5")
SR = 16000
SEED = 1
TIGHT = {"note_tolerance": (0.05, 0.2), "onset_tolerance": (0.1, 0.1)}

INFORMED: dict[str, dict[str, Any]] = {
    "templates only": {"constraints": "templates"},
    "activations only": {"constraints": "activations"},
    "both": {},
    "both, onset templates": {"onset_templates": True},
    "both, tight windows": TIGHT,
    "both, onset templates, tight windows": {"onset_templates": True, **TIGHT},
}
DDS = "DDS-3, packaged piano"
METHODS = (*INFORMED, DDS)


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


def versions() -> dict[str, str]:
    modules = (dds_fast, torch, librosa, mir_eval)
    return {module.__name__: module.__version__ for module in modules}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: means over pieces and hands, and the worst hand."""
    lines = ["| method | pieces | SDR | SIR | SAR | SI-SDR | worst SDR |", "|---" * 7 + "|"]
    for method in ("the mixture itself", *METHODS):
        scores = [row["scores"] for row in rows if row["method"] == method]
        if not scores:
            continue
        means = [np.mean([s[name] for s in scores]) for name in ("sdr", "sir", "sar", "si_sdr")]
        worst = min(min(s["sdr"]) for s in scores)
        # Two stems that are both the mixture leave no artifacts.
        cells = [f"{value:.1f}" if value < 100 else "-" for value in (*means, worst)]
        lines.append(f"| {method} | {len(scores)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--pieces", type=int, default=6, help="per piano")
    parser.add_argument("--dds-steps", type=int, help="default: the dictionary's own")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    options = parser.parse_args()
    rows = json.loads(options.output.read_text()) if options.output.exists() else []
    done = {(row["piano"], row["piece"], row["method"]) for row in rows}
    options.output.parent.mkdir(parents=True, exist_ok=True)

    def add(piano: str, piece: int, method: str, **row: Any) -> None:
        rows.append({"piano": piano, "piece": piece, "seed": SEED, "method": method, **row})
        options.output.write_text(json.dumps(rows, indent=1))

    for method in options.methods:
        for piano in PIANOS:
            recordings = find_notes([options.data / "isol" / piano])
            pieces = two_hands(recordings, n_pieces=options.pieces, seed=SEED)
            for piece, (truth, notes) in enumerate(pieces):
                mixture = truth.sum(0)
                if (piano, piece, "the mixture itself") not in done and method == METHODS[0]:
                    add(
                        piano,
                        piece,
                        "the mixture itself",
                        scores=score(truth, np.stack([mixture] * 2)),
                    )
                if (piano, piece, method) in done:
                    continue
                stems, settings = separate(method, mixture, notes, options.dds_steps)
                residual = float(np.abs(stems.sum(0) - mixture).max())
                add(
                    piano,
                    piece,
                    method,
                    scores=score(truth, stems),
                    largest_difference_from_mixture=residual,
                    n_notes=len(notes),
                    seconds_of_sound=round(len(mixture) / SR, 2),
                    settings=settings,
                    versions=versions(),
                )
    print(table(rows))


if __name__ == "__main__":
    main()
