"""The update step on a GPU by Triton kernels."""

from __future__ import annotations

from collections.abc import Sequence

from dds_fast.ops.flow import triton as flow_ops
from dds_fast.ops.tiled import can_run
from dds_fast.ops.update_step import device, interface
from dds_fast.ops.update_step.interface import Problem
from dds_fast.ops.update_step.schedule import Schedule

__all__ = ["Search", "UpdateStep", "can_run"]


def UpdateStep(problem: Problem, schedule: Schedule, precision: str) -> interface.UpdateStep:
    """The search on the device, with flows in Triton."""
    return device.UpdateStep(problem, schedule, precision, flow_ops)


def Search(
    problems: Sequence[Problem], schedules: Sequence[Schedule], precision: str
) -> device.Search:
    """The same for recordings that share a flow."""
    return device.Search(problems, schedules, precision, flow_ops)
