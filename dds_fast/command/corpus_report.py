"""``dds-fast corpus-report``: what a corpus holds, and which of its recordings to listen to."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "corpus-report",
        help="what a corpus holds, and which of its recordings to listen to",
        description="Print how sure the notes of a corpus are, what failed and how dense it is; "
        "OUT/report/index.html leads to pages of the most suspicious recordings.",
    )
    parser.add_argument("output", type=Path, metavar="OUT", help="folder made by corpus")
    parser.add_argument(
        "--pages", type=int, default=20, metavar="N", help="most suspicious recordings"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier report")
    return parser


def run(options: argparse.Namespace) -> int:
    from dds_fast import corpus

    made = corpus.report(options.output, n_pages=options.pages, overwrite=options.overwrite)
    print(made)
    for row in made.suspicious:
        print(f"{row['suspicion']:5.1f}  {row['recording']}: {row['reason']}")
    print(f"Pages to listen to: {options.output / corpus.REPORT}")
    return 0
