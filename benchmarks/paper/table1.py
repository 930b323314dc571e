"""Table I of the DDS paper, measured; this is ``dds-fast bench table1``.

    dds-fast bench table1 --out DIR [--preset full|quick|check] [--only T,N] [--device cuda]
                          [--trial]

One pytest process per axis; its JSON (see store.py) goes to DIR/axis_<axis>.json, and axes that
have one are skipped, so an interrupted run continues. Then DIR/README.md and the figures are made
from all JSON in DIR.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import store
from jobs import Job, run_all
from paper import scaling
from paper.complexity import PRESETS

KEEP_PAGES = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
"""glibc keeps what is freed: a call is timed without the kernel handing out zeroed pages anew."""


def chosen(preset: str, only: str | None) -> list[Job]:
    """A job per axis of a preset, or of those named, comma-separated.

    Raises:
        ValueError: an unknown axis.
    """
    axes = PRESETS[preset]
    wanted = list(axes) if only is None else only.split(",")
    if unknown := sorted(set(wanted) - set(axes)):
        raise ValueError(f"--only: unknown {', '.join(unknown)}; there are {', '.join(axes)}")
    return [Job(f"axis_{axis}", "paper/test_table1.py") for axis in axes if axis in wanted]


def check_preset(folder: Path, preset: str) -> None:
    """Raise a ValueError if the folder holds results of another preset."""
    for path in sorted(folder.glob("axis_*.json")):
        found = store.read(path)["about"]["preset"]
        if found != preset:
            raise ValueError(f"{path} was measured with --preset {found}; take another --out")


def main() -> int:
    parser = argparse.ArgumentParser(prog="dds-fast bench table1", description="Table I")
    parser.add_argument("-o", "--out", type=Path, default=Path("dds-fast-bench"))
    parser.add_argument("--preset", choices=PRESETS, default="full")
    parser.add_argument("--only", help="axes, comma-separated: T, F, S, K, N, L")
    parser.add_argument("--device", default="cpu")
    store.add_trial(parser)
    options = parser.parse_args()
    folder = options.out.resolve()
    try:
        jobs = chosen(options.preset, options.only)
        check_preset(folder, options.preset)
        store.permit(folder, options.trial or options.preset == "check")
    except ValueError as error:
        print(f"dds-fast: {error}", file=sys.stderr)
        return 1
    flags = ["--preset", options.preset, "--device", options.device]
    flags += ["--trial"] if options.trial else []
    os.environ |= KEEP_PAGES
    failed = run_all(jobs, folder, flags)
    scaling.write(folder)
    print(folder / "README.md")
    if failed:
        print(f"dds-fast: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0
