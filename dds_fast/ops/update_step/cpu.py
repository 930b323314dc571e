"""The update step on the CPU, compiled."""

from __future__ import annotations

from dds_fast.ops.packed import can_run
from dds_fast.ops.update_step import decoded, fixed, interface
from dds_fast.ops.update_step.interface import Problem
from dds_fast.ops.update_step.schedule import Schedule

__all__ = ["UpdateStep", "can_run"]


def UpdateStep(problem: Problem, schedule: Schedule, precision: str) -> interface.UpdateStep:
    """The step that suits the problem: with a fixed dictionary (always in float32), or a flow."""
    if problem.flow is None:
        return fixed.UpdateStep(problem, schedule)
    return decoded.UpdateStep(problem, schedule, precision)
