"""The update step of a decomposition: the interface that every backend implements."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from torch import Tensor

from dds_fast.ops import dispatch
from dds_fast.ops.frozen import FrozenFlow
from dds_fast.ops.update_step import cpu, cuda, reference, triton
from dds_fast.ops.update_step.interface import Problem, State, UpdateStep
from dds_fast.ops.update_step.schedule import Controller, Schedule

__all__ = [
    "BACKENDS",
    "Controller",
    "Problem",
    "Schedule",
    "State",
    "UpdateStep",
    "searches_together",
    "update_step",
]

BACKENDS: dict[str, ModuleType] = {
    "cpu": cpu,
    "triton": triton,
    "cuda": cuda,  # by name, until it has been measured beside Triton's
    "reference": reference,
}


def update_step(
    problem: Problem, schedule: Schedule, *, precision: str | None = None, backend: str = "auto"
) -> UpdateStep:
    """Start a decomposition on the fastest backend that can run it (or on the one named).

    Raises:
        ValueError: unknown backend or precision.
        RuntimeError: the backend asked for, or every backend, refuses; with the reasons.
    """
    request = dispatch.Request.of(problem.X, precision, problem.flow)
    module = dispatch.select("update_step", BACKENDS, request, backend)
    return module.UpdateStep(problem, schedule, request.precision)


def searches_together(
    X: Tensor, flow: FrozenFlow, *, precision: str | None = None, backend: str = "auto"
) -> Callable[..., Any] | None:
    """What starts ``(problems, schedules, precision)`` that share `flow` as one search.

    None where the backend for X would gain nothing by that.
    """
    request = dispatch.Request.of(X, precision, flow)
    module = dispatch.select("update_step", BACKENDS, request, backend)
    return getattr(module, "Search", None)
