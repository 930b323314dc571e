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
    dictionary.metadata.get("training", {}).pop("history", None)  # a line per epoch is too long
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


def _report(dictionary: Dictionary, options: argparse.Namespace) -> None:
    from dds_fast.datasets import load_notes
    from dds_fast.inspection import inspect

    pitches = [source for source in dictionary.sources if isinstance(source, int)]
    notes = load_notes(options.data, dictionary.spectrogram, pitches=pitches)
    inspection = inspect(dictionary, notes)
    print(json.dumps(inspection.summary(), indent=1))
    if options.out is not None:
        inspection.save(options.out, overwrite=options.overwrite)
        print(f"The report by source and its pictures are in {options.out}")
