"""The update step on the CPU, with the compiled flow or a fixed dictionary."""

from __future__ import annotations

from dds_fast.ops.dispatch import Request
from dds_fast.ops.flow import cpu as flow_cpu
from dds_fast.ops.update_step import fixed, interface, reference
from dds_fast.ops.update_step.interface import Problem
from dds_fast.ops.update_step.schedule import Schedule


def can_run(request: Request, raise_error: bool = False) -> bool:
    """Whatever the compiled flow can run."""
    return flow_cpu.can_run(request, raise_error)


class UpdateStep(reference.UpdateStep):
    """The reference loop around the compiled flow."""

    flow_ops = flow_cpu

    def __new__(cls, problem: Problem, schedule: Schedule) -> interface.UpdateStep:
        """A step of another class, complete, for problems without a flow."""
        if problem.W is not None and problem.projected:
            return fixed.UpdateStep(problem, schedule)
        return super().__new__(cls)
