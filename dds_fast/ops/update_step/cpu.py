"""The update step on the CPU, with the compiled flow."""

from __future__ import annotations

from dds_fast.ops.dispatch import Request
from dds_fast.ops.flow import cpu as flow_cpu
from dds_fast.ops.update_step import reference


def can_run(request: Request, raise_error: bool = False) -> bool:
    """Whatever the compiled flow can run."""
    return flow_cpu.can_run(request, raise_error)


class UpdateStep(reference.UpdateStep):
    """The reference loop around the compiled flow."""

    flow_ops = flow_cpu
