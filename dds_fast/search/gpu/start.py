"""The search on a GPU that suits the problems."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from dds_fast.search.gpu.gradient import gradient_search
from dds_fast.search.gpu.staged import staged_search
from dds_fast.search.problem import AnyProblem, Problem, StagedProblem
from dds_fast.search.schedule import Schedule
from dds_fast.search.search import Search


def start(
    problems: Sequence[AnyProblem],
    schedules: Sequence[Schedule],
    precision: str,
    flow_ops: ModuleType,
) -> Search:
    """Begin the search of problems of one kind, with a flow backend."""
    stages = [problem for problem in problems if isinstance(problem, StagedProblem)]
    if stages:
        return staged_search(stages, schedules, precision, flow_ops)
    plain = [problem for problem in problems if isinstance(problem, Problem)]
    return gradient_search(plain, schedules, precision, flow_ops)
