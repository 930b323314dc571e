"""Peak memory of an update step, in a process of its own.

    python benchmarks peak_memory CASE CONTENDER [--quick]

Prints one line of JSON. A step on a single frame comes first: it leaves the weights loaded and
packed, so that what the peak adds to it is the search's own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from kernels.accuracy import SCHEDULE
from kernels.cases import CPU_CASES, Workload
from kernels.contenders import BATCHED_SHARED, OURS, PEERS

CONTENDERS = {BATCHED_SHARED: PEERS[BATCHED_SHARED]} | OURS
TIMED_STEPS = 2
BENCHMARKS = Path(__file__).parents[1]


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def measure(case: str, contender: str, quick: bool) -> dict[str, Any]:
    """Seconds of steps, and the peak before and after."""
    shape = CPU_CASES[case].tiny() if quick else CPU_CASES[case]
    workload = Workload(case, shape)
    built = CONTENDERS[contender](workload)
    first = built.problem
    assert first.Z is not None
    one_frame = replace(first, X=first.X[:, :1], H=first.H[:, :1], Z=first.Z[:, :1])
    built.start(one_frame, SCHEDULE).advance()
    before = _peak_bytes()
    search = built.start(first, SCHEDULE)
    search.advance()
    samples = []
    for _ in range(TIMED_STEPS):
        start = time.perf_counter()
        search.advance()
        samples.append(time.perf_counter() - start)
    info = {"bytes_before": before, "peak_bytes": _peak_bytes()}
    return {"samples": samples, "info": info}


def measure_apart(case: str, contender: str, quick: bool) -> dict[str, Any]:
    """`measure` in a new process.

    Raises:
        RuntimeError: the process failed; with the last line that it wrote, or the signal.
    """
    command = [sys.executable, str(BENCHMARKS), "peak_memory", case, contender]
    command += ["--quick"] if quick else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode < 0:
        raise RuntimeError(f"killed by signal {-done.returncode} (out of memory?)")
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=CPU_CASES)
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    print(json.dumps(measure(options.case, options.contender, options.quick)))
