"""A frozen flow on the CPU: compiled coupling steps, chained."""

from __future__ import annotations

from functools import partial

from dds_fast.ops.coupling_step import cpu as coupling_cpu
from dds_fast.ops.dispatch import Request
from dds_fast.ops.flow import reference


def can_run(request: Request, raise_error: bool = False) -> bool:
    """Whatever the compiled coupling step can run."""
    return coupling_cpu.can_run(request, raise_error)


forward = partial(reference.forward, coupling=coupling_cpu)
backward = partial(reference.backward, coupling=coupling_cpu)
