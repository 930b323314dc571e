"""The benchmarks of the compiled CPU kernels, one after the other; this is ``dds-fast bench cpu``.

    dds-fast bench cpu --out DIR [--only W1,W2-1200] [--quick] [--full] [--race-seconds 40]

Every job is a pytest process of its own, with the memory to itself. Its pytest-benchmark JSON goes
to DIR/<job>.json; jobs that have one are skipped, so an interrupted run continues. Then
DIR/README.md (tables) and DIR/steps.svg (picture) are drawn from all JSON in DIR.

| workload | what |
|---|---|
| W1 | DDS-2: a bank of 60 flows, K entries each |
| W2 | DDS-3: one large Glow |
| W3 | DDS-1: the bank with one row per frame, and its peak memory |
| W4 | NMF, where there is a benchmark of it |
| W5 | whole decompositions of ten seconds |
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import plot
import table
from cases import CASES, DECOMPOSITIONS
from jobs import HERE, Job, run_all
from results import load


def jobs() -> Iterator[Job]:
    """All of them, the machine's limits first: every table is relative to them."""
    yield Job("machine", "test_limits.py", selected=False)
    for name in CASES:
        yield Job(name, "test_flows.py")
    if (HERE / "test_nmf.py").exists():
        yield Job("W4", "test_nmf.py", selected=False)
    for name in DECOMPOSITIONS:
        yield Job(name, "test_decompose.py")


def chosen(only: str | None) -> list[Job]:
    """The jobs of the workloads or cases named, comma-separated.

    Raises:
        ValueError: an unknown name.
    """
    everything = list(jobs())
    if only is None:
        return everything
    wanted = set(only.split(","))
    known = {job.workload for job in everything} | {job.name for job in everything}
    if unknown := sorted(wanted - known):
        raise ValueError(
            f"--only: unknown {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        )
    wanted.add("machine")
    return [job for job in everything if {job.name, job.workload} & wanted]


def draw(folder: Path) -> None:
    """Tables and picture of all that is finished."""
    results = load(folder)
    (folder / "README.md").write_text(table.render(results), encoding="utf-8")
    if (figure := plot.draw(results)) is not None:
        figure.savefig(folder / "steps.svg")


def main() -> int:
    parser = argparse.ArgumentParser(prog="dds-fast bench cpu", description="CPU kernels")
    parser.add_argument("-o", "--out", type=Path, default=Path("dds-fast-bench"))
    parser.add_argument("--only")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--race-seconds", type=float)
    options = parser.parse_args()
    try:
        selected = chosen(options.only)
    except ValueError as error:
        print(f"dds-fast: {error}", file=sys.stderr)
        return 1
    folder = options.out.resolve()
    flags = [f"--{name}" for name in ("quick", "full") if getattr(options, name)]
    if options.race_seconds is not None:
        flags += ["--race-seconds", str(options.race_seconds)]
    failed = run_all(selected, folder, flags)
    draw(folder)
    print(f"{folder / 'README.md'}")
    if failed:
        print(f"dds-fast: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
