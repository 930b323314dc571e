"""Peak memory of an update step, in a process of its own.

A step on a single frame comes first: it leaves the weights loaded and packed, so that what the peak
adds to it is the search's own.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

from kernels.accuracy import SCHEDULE
from kernels.cases import CPU_CASES, Workload
from kernels.contenders import BATCHED_SHARED, OURS, PEERS

CONTENDERS = {BATCHED_SHARED: PEERS[BATCHED_SHARED]} | OURS
TIMED_STEPS = 2


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def measure(case: str, contender: str, quick: bool) -> tuple[list[float], dict[str, Any]]:
    """Seconds of steps, and the peak before and after."""
    shape = CPU_CASES[case].tiny() if quick else CPU_CASES[case]
    built = CONTENDERS[contender](Workload(case, shape))
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
    return samples, {"bytes_before": before, "peak_bytes": _peak_bytes()}


def measure_apart(case: str, contender: str, quick: bool) -> tuple[list[float], dict[str, Any]]:
    """`measure` in a new process; what it raises is raised.

    Raises:
        BrokenProcessPool: the process was killed, by what it took.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, case, contender, quick).result()
