"""The update step of a decomposition: the interface that every backend implements."""

from __future__ import annotations

from types import ModuleType

from dds_fast.ops import dispatch
from dds_fast.ops.update_step import cpu, reference, triton
from dds_fast.ops.update_step.interface import Problem, State, UpdateStep
from dds_fast.ops.update_step.schedule import Controller, Schedule

__all__ = ["BACKENDS", "Controller", "Problem", "Schedule", "State", "UpdateStep", "update_step"]

BACKENDS: dict[str, ModuleType] = {"cpu": cpu, "triton": triton, "reference": reference}


def update_step(
    problem: Problem, schedule: Schedule, *, precision: str | None = None, backend: str = "auto"
) -> UpdateStep:
    """Start a decomposition on the fastest backend that can run it (or on the one named).

    Raises:
        ValueError: unknown backend or precision.
        RuntimeError: the backend asked for, or every backend, refuses; with the reasons.
    """
    request = dispatch.Request.of(problem.X, precision)
    module = dispatch.select("update_step", BACKENDS, request, backend)
    return module.UpdateStep(problem, schedule, request.precision)
