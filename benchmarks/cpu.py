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

import sys
from collections.abc import Iterator

import suite
from cases import CPU_CASES, DECOMPOSITIONS
from jobs import Job


def jobs() -> Iterator[Job]:
    """All of them, the machine's limits first: every table is relative to them."""
    yield Job("machine", "test_limits.py", selected=False)
    for name in CPU_CASES:
        yield Job(name, "test_flows.py")
    yield Job("W4", "test_nmf.py", selected=False)
    for name in DECOMPOSITIONS:
        yield Job(name, "test_decompose.py")


def main() -> int:
    options = suite.parser("cpu", "CPU kernels").parse_args()
    return suite.run(jobs(), options, ["--suite", "cpu"])


if __name__ == "__main__":
    sys.exit(main())
