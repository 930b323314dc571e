"""``dds-fast evaluate``: results scored against reference notes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dds_fast.notes.general_midi import Numbers

HEADINGS = {
    "upper_threshold": "upper thr.",
    "lower_threshold": "lower thr.",
    "frame_precision": "frame P",
    "frame_recall": "frame R",
    "frame_f1": "frame F1",
    "best_threshold": "best thr.",
    "frame_f1_at_best_threshold": "best F1",
    "note_onset_f1": "onset F1",
    "note_onset_offset_f1": "note F1",
}


def add(commands: Any) -> argparse.ArgumentParser:
    parser = commands.add_parser("evaluate", help="score results against reference notes")
    parser.add_argument("output", type=Path, metavar="OUT", help="folder made by decompose")
    parser.add_argument(
        "labels", type=Path, metavar="LABELS", help="folder of <stem>.mid or <stem>.txt, or a file"
    )
    parser.add_argument(
        "--label-delay", type=float, default=0.0, metavar="S", help="sound after label, seconds"
    )
    parser.add_argument(
        "--midi",
        metavar="NAME=NUMBER,...",
        help="drum notes of named sources in MIDI labels, as of decompose",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the scores here")
    parser.add_argument("--overwrite", action="store_true", help="replace the JSON file")
    return parser


def run(options: argparse.Namespace) -> int:
    from dds_fast.files import probe_file, writing
    from dds_fast.notes import general_midi

    if options.json is not None:
        probe_file(options.json, options.overwrite)
    midi = None if options.midi is None else general_midi.read(options.midi)
    scores = evaluate(options.output, options.labels, label_delay=options.label_delay, midi=midi)
    print(table(scores))
    print(f"label delay {options.label_delay:g} s")
    if options.json is not None:
        record = {"label_delay": options.label_delay, "scores": scores}
        with writing(options.json, options.overwrite) as path:
            path.write_text(json.dumps(record, indent=1))
    return 0


def evaluate(
    output: Path, labels: Path, *, label_delay: float = 0.0, midi: Numbers | None = None
) -> dict[str, dict[str, float]]:
    """Scores of each result below a folder that ``dds-fast decompose`` wrote.

    Args:
        output: the folder.
        labels: folder with ``<stem>.mid`` or ``<stem>.txt`` for each result, or one label file
            for a single result.
        label_delay: see `dds_fast.metrics.evaluate`.
        midi: notes of drums in MIDI files, see `dds_fast.notes.general_midi.numbers`.

    Returns:
        Scores by stem.

    Raises:
        FileNotFoundError: no results, or no labels for one of them.
        ValueError: one label file for several results.
    """
    from dds_fast import metrics
    from dds_fast.decomposition import Decomposition
    from dds_fast.notes.general_midi import drums
    from dds_fast.notes.score import load_labels
    from dds_fast.results import ACTIVATIONS

    results = sorted(output.glob(f"*/{ACTIVATIONS}"))
    if (output / ACTIVATIONS).is_file():
        results = [output / ACTIVATIONS]
    if not results:
        raise FileNotFoundError(f"no */{ACTIVATIONS} in {output}")
    if labels.is_file() and len(results) > 1:
        raise ValueError(f"{labels} is one file, but {output} holds {len(results)} results")
    scores = {}
    for path in results:
        stem, result = path.parent.name, Decomposition.load(path)
        label_file = labels if labels.is_file() else _labels_of(stem, labels)
        played = load_labels(label_file, drums=drums(result.sources, midi))
        scores[stem] = metrics.evaluate(result, played, label_delay=label_delay)
    return scores


def _labels_of(stem: str, folder: Path) -> Path:
    from dds_fast.notes.score import LABEL_SUFFIXES

    found = {path.suffix.lower(): path for path in folder.glob("*") if path.stem == stem}
    for suffix in LABEL_SUFFIXES:
        if suffix in found:
            return found[suffix]
    raise FileNotFoundError(f"no labels for {stem} in {folder} ({', '.join(LABEL_SUFFIXES)})")


def table(scores: Mapping[str, Mapping[str, float]]) -> str:
    """Scores as text, one row per recording and their mean."""
    columns = list(next(iter(scores.values())))
    rows = [["recording", *(HEADINGS.get(c, c) for c in columns)]]
    rows += [[stem, *(f"{row[c]:.3f}" for c in columns)] for stem, row in scores.items()]
    if len(scores) > 1:
        means = [fmean(row[c] for row in scores.values()) for c in columns]
        rows.append(["mean", *(f"{mean:.3f}" for mean in means)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        )
        for row in rows
    )
