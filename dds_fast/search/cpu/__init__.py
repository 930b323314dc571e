"""The compiled engine on the CPU: float32 state, products in float32, bf16x3 or bfloat16.

It hands pointers to native objects, and knows no other engine but the reference.
"""

from __future__ import annotations

from collections.abc import Sequence

from dds_fast.search.cpu import flow
from dds_fast.search.cpu.fixed import FixedSearch
from dds_fast.search.cpu.gradient import GradientSearch
from dds_fast.search.cpu.staged import StagedSearch
from dds_fast.search.cpu.weights import can_run
from dds_fast.search.problem import AnyProblem, Problem
from dds_fast.search.schedule import Schedule
from dds_fast.search.search import Search, together

__all__ = ["TOGETHER", "can_run", "flow", "search"]

TOGETHER = 1


def search(problems: Sequence[AnyProblem], schedules: Sequence[Schedule], precision: str) -> Search:
    """Begin a search; with a fixed dictionary it computes in float32."""
    return together(
        [
            _search(problem, schedule, precision)
            for problem, schedule in zip(problems, schedules, strict=True)
        ]
    )


def _search(problem: AnyProblem, schedule: Schedule, precision: str) -> Search:
    if not isinstance(problem, Problem):
        return StagedSearch(problem, schedule, precision)
    if problem.flow is None:
        return FixedSearch(problem, schedule)
    return GradientSearch(problem, schedule, precision)
