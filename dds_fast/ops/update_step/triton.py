"""The update step on a GPU by Triton kernels."""

from __future__ import annotations

from dds_fast.ops.flow import triton as flow_ops
from dds_fast.ops.tiled import can_run
from dds_fast.ops.update_step import device, interface
from dds_fast.ops.update_step.interface import Problem
from dds_fast.ops.update_step.schedule import Schedule

__all__ = ["UpdateStep", "can_run"]


def UpdateStep(problem: Problem, schedule: Schedule, precision: str) -> interface.UpdateStep:
    """The search on the device, with flows in Triton."""
    return device.UpdateStep(problem, schedule, precision, flow_ops)
