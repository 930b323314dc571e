"""The benchmarks of the compiled CPU kernels, one after the other; this is ``dds-fast bench cpu``.

    dds-fast bench cpu --out DIR [--only W1,W2-1200] [--quick] [--full] [--race-seconds 40]
                       [--data FOLDER] [--trial]

Every job is a pytest process of its own, with the memory to itself. Its JSON (see store.py) goes
to DIR/<job>.json; jobs that have one are skipped, so an interrupted run continues. Then
DIR/README.md is made of all JSON in DIR. What W1 to W7 are is told in benchmarks/README.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jobs import Job
from kernels import suite
from kernels.cases import CPU_CASES, DECOMPOSITIONS, SOUNDS


def jobs() -> Iterator[Job]:
    """All of them, the machine's limits first: every table is relative to them."""
    yield Job("machine", "kernels/test_limits.py", selected=False)
    for name in CPU_CASES:
        yield Job(name, "kernels/test_flows.py")
    yield Job("W4", "kernels/test_nmf.py", selected=False)
    for name in DECOMPOSITIONS:
        yield Job(name, "kernels/test_decompose.py")
    for name in SOUNDS:
        yield Job(name, "kernels/test_notes.py")


def main() -> int:
    parser = suite.parser("cpu", "CPU kernels")
    parser.add_argument("--data", type=Path, help="recordings for W7, which else are made")
    options = parser.parse_args()
    flags = ["--suite", "cpu"]
    if options.data is not None:
        flags += ["--data", str(options.data.resolve())]
    return suite.run(jobs(), options, flags)
