"""The engine on a GPU by Triton kernels."""

from __future__ import annotations

from collections.abc import Sequence

from dds_fast.search.gpu import flow
from dds_fast.search.gpu.start import start
from dds_fast.search.gpu.weights import can_run
from dds_fast.search.problem import AnyProblem
from dds_fast.search.schedule import Schedule
from dds_fast.search.search import Search

__all__ = ["TOGETHER", "can_run", "flow", "search"]

TOGETHER = 8


def search(problems: Sequence[AnyProblem], schedules: Sequence[Schedule], precision: str) -> Search:
    """Begin a search on the device, with flows in Triton."""
    return start(problems, schedules, precision, flow)
