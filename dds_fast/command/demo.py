"""``dds-fast demo``: a short piano clip that ships with dds-fast, decomposed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dds_fast.notes.names import note_name

DEMO_CLIP = Path(__file__).parents[1] / "models" / "demo_chord.flac"


def add(commands: Any) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "demo", help="decompose a short piano clip that ships with dds-fast"
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("dds-fast-demo"), metavar="OUT", help="folder"
    )
    return parser


def run(options: argparse.Namespace) -> int:
    from dds_fast.command import files
    from dds_fast.decompose import resolve_dictionary
    from dds_fast.decomposition import Decomposition
    from dds_fast.notes.score import load_labels
    from dds_fast.results import ACTIVATIONS

    dictionary = resolve_dictionary(None)
    played = set(load_labels(DEMO_CLIP.with_suffix(".txt")).pitches.tolist())
    print(
        f"Decomposing {DEMO_CLIP.name}, a chord of {_names(played)}, with the packaged dictionary:"
    )
    print(f"{dictionary}, {dictionary.search}")
    jobs = files.plan([DEMO_CLIP], options.output, overwrite=True)
    status = files.run(jobs, dictionary, overwrite=True)
    folder = jobs[0].folder
    if status == 0:
        print((folder / "notes.csv").read_text().rstrip())
        result = Decomposition.load(folder / ACTIVATIONS)
        print(compared(played, {int(note.source) for note in result.notes()}))
        print(f"Picture, MIDI, CSV and arrays are in {folder.resolve()}")
    return status


def compared(played: set[int], found: set[int]) -> str:
    """Which of the notes played were found, which were missed, and what else was found."""
    missed, others = played - found, found - played
    return (
        f"Found {_names(played & found) or 'none of them'}; "
        + (f"missed {_names(missed)}; " if missed else "")
        + (f"also found {_names(others)}, not played." if others else "nothing else.")
    )


def _names(pitches: set[int]) -> str:
    return ", ".join(note_name(pitch) for pitch in sorted(pitches))
