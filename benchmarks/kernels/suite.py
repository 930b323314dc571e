"""A suite of kernel benchmarks: its command line, its jobs, and the report of all that is done.

``python benchmarks suite DIR...`` makes the reports of finished suites again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import store
from jobs import Job, chosen, run_all
from kernels import table


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """With the options that every suite has."""
    made = argparse.ArgumentParser(prog=f"dds-fast bench {name}", description=description)
    made.add_argument(
        "-o", "--out", type=Path, default=Path("dds-fast-bench"), help="finished parts are kept"
    )
    made.add_argument("--only", metavar="W1,...", help="workloads or cases")
    made.add_argument("--quick", action="store_true", help="tiny sizes: does it work?")
    made.add_argument("--full", action="store_true", help="extrapolate nothing but plain PyTorch")
    made.add_argument("--race-seconds", type=float, help="how long a comparison may take")
    store.add_trial(made)
    return made


def write(folder: Path) -> None:
    """README.md: tables of all that is finished."""
    text = table.render(store.load(folder))
    (folder / "README.md").write_text(text, encoding="utf-8")


def run(
    jobs: Iterable[Job],
    options: argparse.Namespace,
    flags: list[str],
    minutes: float | None = None,
) -> int:
    """Run the jobs that `options` choose, report, and give the exit status."""
    folder = options.out.resolve()
    try:
        selected = chosen(jobs, options.only)
        store.permit(folder, options.trial or options.quick)
    except ValueError as error:
        print(f"dds-fast: {error}", file=sys.stderr)
        return 1
    switches = ("quick", "full", "trial")
    flags = flags + [f"--{name}" for name in switches if getattr(options, name)]
    if options.race_seconds is not None:
        flags += ["--race-seconds", str(options.race_seconds)]
    missing = run_all(selected, folder, flags, minutes)
    write(folder)
    print(f"{folder / 'README.md'}")
    if missing:
        print(f"dds-fast: failed or left: {', '.join(missing)}", file=sys.stderr)
    return 1 if missing else 0


def main() -> None:
    for folder in sys.argv[1:]:
        write(Path(folder))
