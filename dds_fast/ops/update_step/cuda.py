"""The update step on a GPU with a bank by CUDA kernels; the rest of it is Triton's."""

from __future__ import annotations

from collections.abc import Sequence

from dds_fast.ops import tiled
from dds_fast.ops.dispatch import Request, accept
from dds_fast.ops.flow import cuda as flow_ops
from dds_fast.ops.update_step import device, interface
from dds_fast.ops.update_step.interface import Problem
from dds_fast.ops.update_step.schedule import Schedule

__all__ = ["Search", "UpdateStep", "can_run"]


def can_run(request: Request, raise_error: bool = False) -> bool:
    """Where both the CUDA and the Triton kernels run, for searches with a bank."""
    if not flow_ops.can_run(request, raise_error) or not tiled.can_run(request, raise_error):
        return False
    return accept(None if request.flow else "has no flow to pass through", raise_error)


def UpdateStep(problem: Problem, schedule: Schedule, precision: str) -> interface.UpdateStep:
    """The search on the device, with flows in CUDA."""
    return device.UpdateStep(problem, schedule, precision, flow_ops)


def Search(
    problems: Sequence[Problem], schedules: Sequence[Schedule], precision: str
) -> device.Search:
    """The same for recordings that share a flow."""
    return device.Search(problems, schedules, precision, flow_ops)
