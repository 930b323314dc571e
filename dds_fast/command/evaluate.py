"""``dds-fast evaluate``: results scored against reference notes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
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
    "reconstruction_error": "RE",
    "relative_error": "rel. error",
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
    parser.add_argument(
        "--recordings",
        type=Path,
        metavar="IN",
        help="folder of <stem>.wav, .flac and so on, or a file: score reconstructions too "
        "(default: none)",
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
    scores = evaluate(
        options.output,
        options.labels,
        label_delay=options.label_delay,
        midi=midi,
        recordings=options.recordings,
    )
    print(table(scores))
    print(f"label delay {options.label_delay:g} s")
    if options.json is not None:
        record = {"label_delay": options.label_delay, "scores": scores}
        with writing(options.json, options.overwrite) as path:
            path.write_text(json.dumps(record, indent=1))
    return 0


def evaluate(
    output: Path,
    labels: Path,
    *,
    label_delay: float = 0.0,
    midi: Numbers | None = None,
    recordings: Path | None = None,
) -> dict[str, dict[str, float]]:
    """Scores of each result below a folder that ``dds-fast decompose`` wrote.

    Args:
        output: the folder.
        labels: folder with ``<stem>.mid`` or ``<stem>.txt`` for each result, or one label file
            for a single result.
        label_delay: see `dds_fast.metrics.evaluate`.
        midi: notes of drums in MIDI files, see `dds_fast.notes.general_midi.numbers`.
        recordings: what was decomposed, likewise, for the scores of the reconstruction.

    Returns:
        Scores by stem.

    Raises:
        FileNotFoundError: no results, or no labels or recording for one of them.
        ValueError: one file for several results.
    """
    from dds_fast import metrics
    from dds_fast.choices import AUDIO_SUFFIXES
    from dds_fast.decomposition import Decomposition
    from dds_fast.notes.general_midi import drums
    from dds_fast.notes.score import LABEL_SUFFIXES, load_labels
    from dds_fast.results import ACTIVATIONS

    results = sorted(output.rglob(ACTIVATIONS))
    if (output / ACTIVATIONS).is_file():
        results = [output / ACTIVATIONS]
    if not results:
        raise FileNotFoundError(f"no {ACTIVATIONS} below {output}")
    for given in (labels, recordings):
        if given is not None and given.is_file() and len(results) > 1:
            raise ValueError(f"{given} is one file, but {output} holds {len(results)} results")
    scores = {}
    for path in results:
        place, result = path.parent.relative_to(output), Decomposition.load(path)
        stem = place.as_posix() if place.name else path.parent.resolve().name
        label_file = _of("labels", stem, labels, LABEL_SUFFIXES)
        recording = None
        if recordings is not None:
            recording = _of("recording", stem, recordings, AUDIO_SUFFIXES)
        played = load_labels(label_file, drums=drums(result.sources, midi))
        scores[stem] = metrics.evaluate(
            result, played, label_delay=label_delay, recording=recording
        )
    return scores


def _of(what: str, stem: str, given: Path, suffixes: Sequence[str]) -> Path:
    """The file of a result: the one that was given, or that of its name in a folder."""
    if given.is_file():
        return given
    of_stem = given / stem
    found = {p.suffix.lower(): p for p in of_stem.parent.glob("*") if p.stem == of_stem.name}
    for suffix in suffixes:
        if suffix in found:
            return found[suffix]
    raise FileNotFoundError(f"no {what} for {stem} in {given} ({', '.join(suffixes)})")


def table(scores: Mapping[str, Mapping[str, float]]) -> str:
    """Scores as text, one row per recording and their mean."""
    from statistics import fmean

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
