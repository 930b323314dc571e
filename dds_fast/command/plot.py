"""``dds-fast plot``: saved activations drawn again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> argparse.ArgumentParser:
    parser = commands.add_parser("plot", help="draw saved activations again")
    parser.add_argument("result", type=Path, help="an activations.npz")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PNG", help="picture")
    parser.add_argument("--labels", type=Path, help="reference notes to outline")
    parser.add_argument(
        "--label-delay", type=float, default=0.0, metavar="S", help="sound after label, seconds"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing picture")
    return parser


def run(options: argparse.Namespace) -> int:
    from dds_fast.decomposition import Decomposition
    from dds_fast.files import probe_file
    from dds_fast.notes.score import load_labels
    from dds_fast.plots.figure import off_screen, save_figure

    probe_file(options.output, options.overwrite)
    result = Decomposition.load(options.result)
    roll = None
    if options.labels is not None:
        labels = load_labels(options.labels).shifted(options.label_delay)
        roll = labels.roll(result.sources, result.times)
    with off_screen():
        save_figure(result.plot(roll=roll), options.output, overwrite=options.overwrite)
    return 0
