"""``dds-fast inspect``: what a dictionary is and how it was made."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dds_fast.dictionary import Dictionary


def add(commands: Any) -> argparse.ArgumentParser:
    parser = commands.add_parser("inspect", help="what a dictionary is and how it was made")
    parser.add_argument("dictionary", type=Path, nargs="?", help="default: the packaged piano")
    parser.add_argument(
        "data", type=Path, nargs="*", metavar="DATA", help="folder of notes to report on"
    )
    parser.add_argument("-o", "--out", type=Path, metavar="FOLDER", help="where to draw the report")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing report")
    return parser


def run(options: argparse.Namespace) -> int:
    from dds_fast.decompose import resolve_dictionary
    from dds_fast.files import probe_file
    from dds_fast.inspection import FILES

    if options.out is not None:
        if not options.data:
            raise ValueError("--out needs DATA, the notes to report on")
        for name in FILES:
            probe_file(options.out / name, options.overwrite)
    dictionary = resolve_dictionary(options.dictionary)
    print(dictionary)
    print(dictionary.spectrogram)
    print(dictionary.search)
    print(_described_codes(dictionary))
    print(dictionary.detection or "Notes: thresholds not calibrated, relative to the recording")
    print(*_expected(dictionary), sep="\n")
    dictionary.metadata.get("training", {}).pop("history", None)  # a line per epoch is too long
    dictionary.metadata.pop("calibration", None)
    print(json.dumps(dictionary.metadata, indent=1))
    if options.data:
        _report(dictionary, options)
    return 0


def _described_codes(dictionary: Dictionary) -> str:
    if dictionary.flow is None:
        return "Codes: none, searches begin at the frames themselves"
    if dictionary.codes is None:
        return "Codes: none stored, searches begin at draws of the flow"
    rms = float(dictionary.codes.square().mean().sqrt())
    return f"Codes: {dictionary.codes.shape[1]} per source, root mean square {rms:.2f}"


def _expected(dictionary: Dictionary) -> list[str]:
    """How well notes are found, as far as mixtures of the dictionary's own notes can tell."""
    record = dictionary.metadata.get("calibration", {}).get(dictionary.kind)
    if record is None or dictionary.temporal is None:
        return ["Calibration: none"]
    shown = [f"Calibration: on {record['n_mixtures']} mixtures of its own notes"]
    by_polyphony = record["frames"]["by_polyphony"]
    for count, rates in enumerate(by_polyphony, start=1):
        if rates is not None:
            more = " or more" * (count == len(by_polyphony))
            shown.append(
                f"  {count}{more} sounding: precision {rates['precision']:.2f}, "
                f"recall {rates['recall']:.2f}"
            )
    scores = "onset F1 {onset_f1:.2f}, with offsets {onset_offset_f1:.2f}".format(**record)
    correlation = record["velocity_correlation"]
    told = "" if correlation is None else f", velocities correlate by {correlation:.2f}"
    return [*shown, f"  {scores}{told}"]


def _report(dictionary: Dictionary, options: argparse.Namespace) -> None:
    from dds_fast.datasets import find_notes, load_notes
    from dds_fast.inspection import inspect

    told_by = dictionary.metadata.get("training", {}).get("sources", "key")
    recordings = find_notes(options.data, sources=told_by)
    own = [recording for recording in recordings if recording.source in dictionary.sources]
    notes = load_notes(own, dictionary.spectrogram)
    inspection = inspect(dictionary, notes)
    print(json.dumps(inspection.summary(), indent=1))
    if options.out is not None:
        inspection.save(options.out, overwrite=options.overwrite)
        print(f"The report by source and its pictures are in {options.out}")
