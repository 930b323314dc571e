"""``dds-fast corpus``: archives to a table of notes, on this machine or a cluster."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from dds_fast.command.decompose import add_midi, add_search, search_options

MOST_ERRORS = 20
"""That are named at the end; the table names all."""


def add(commands: Any) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "corpus",
        help="archives to a table of notes, on this machine or a cluster",
        description="Decompose many recordings by many workers. OUT gets Parquet tables, "
        "recordings/ and notes/; run again, it goes on where it stopped. Needs the extra ray.",
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="IN",
        help="recording, folder, glob, or list of recordings (.txt, .parquet); paths or URLs",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder")
    parser.add_argument("--dry-run", action="store_true", help="say what there is and will cost")
    parser.add_argument(
        "--files", action="store_true", help="also write the files of dds-fast decompose"
    )
    parser.add_argument(
        "--label-delay",
        type=float,
        default=0.0,
        metavar="S",
        help="sound after reference notes that lie beside a recording, seconds",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what was made otherwise")
    cluster = parser.add_argument_group("workers")
    cluster.add_argument("--address", help="of a Ray cluster, or auto (default: this machine)")
    cluster.add_argument(
        "--workers", type=int, metavar="N", help="how many (default: one for each core or GPU)"
    )
    cluster.add_argument(
        "--gpus", type=float, default=0.0, metavar="SHARE", help="of a worker: 1, 0.25 (default: 0)"
    )
    add_search(parser)
    add_midi(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    from dds_fast import corpus
    from dds_fast.notes import general_midi

    told = {
        **search_options(options),
        "files": options.files,
        "label_delay": options.label_delay,
        "overwrite": options.overwrite,
        "workers": options.workers,
    }
    what = options.inputs, options.output, options.dictionary
    if options.dry_run:
        print(corpus.plan(*what, **told))
        return 0
    midi = None if options.midi is None else general_midi.read(options.midi)
    done = corpus.decompose(
        *what, midi=midi, address=options.address, gpus=options.gpus, progress=True, **told
    )
    print(
        f"{done.done} of {done.recordings} recordings are in {options.output}, "
        f"{done.hours:.2f} hours of sound by this run",
        file=sys.stderr,
    )
    for recording, error in list(done.errors.items())[:MOST_ERRORS]:
        named = error if recording in error else f"{recording}: {error}"
        print(f"dds-fast: {named}", file=sys.stderr)
    if done.failed:
        where = options.output / corpus.RECORDINGS
        print(
            f"dds-fast: {done.failed} of {done.recordings} recordings failed; the column error in "
            f"{where} names each, and the same command tries them again",
            file=sys.stderr,
        )
    return 1 if done.failed else 0
