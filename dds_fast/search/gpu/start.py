"""The search on a GPU that suits the problems."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from dds_fast.search.gpu.gradient import gradient_search
from dds_fast.search.gpu.staged import staged_search
from dds_fast.search.problem import AnyProblem, StagedProblem
from dds_fast.search.schedule import Schedule
from dds_fast.search.search import Search


def start(
    problems: Sequence[AnyProblem],
    schedules: Sequence[Schedule],
    precision: str,
    flow_ops: ModuleType,
) -> Search:
    """Begin the search of problems of one kind, with a flow backend."""
    if isinstance(problems[0], StagedProblem):
        return staged_search(problems, schedules, precision, flow_ops)
    return gradient_search(problems, schedules, precision, flow_ops)
