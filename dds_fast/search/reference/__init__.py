"""The engine in plain PyTorch, in any floating dtype on any device: the definition of truth."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dds_fast.flows.reference import flow
from dds_fast.search.dispatch import Request, accept
from dds_fast.search.problem import AnyProblem, Problem
from dds_fast.search.reference.gradient import GradientSearch
from dds_fast.search.reference.staged import StagedSearch
from dds_fast.search.schedule import Schedule
from dds_fast.search.search import Search, together

__all__ = ["TOGETHER", "can_run", "flow", "search"]

TOGETHER = 1


def can_run(request: Request, raise_error: bool = False) -> bool:
    """Plain PyTorch computes in the tensors' own dtype, on any device."""
    reason = None
    if request.dtype not in (torch.float64, torch.float32):
        reason = f"computes in float64 or float32, not {str(request.dtype).removeprefix('torch.')}"
    elif request.precision not in ("float64", "float32"):
        reason = f"computes in float64 or float32, not {request.precision}"
    return accept(reason, raise_error)


def search(problems: Sequence[AnyProblem], schedules: Sequence[Schedule], precision: str) -> Search:
    """Begin a search; it computes in the problems' dtype, whatever `precision`."""
    return together(
        [
            GradientSearch(problem, schedule)
            if isinstance(problem, Problem)
            else StagedSearch(problem, schedule)
            for problem, schedule in zip(problems, schedules, strict=True)
        ]
    )
