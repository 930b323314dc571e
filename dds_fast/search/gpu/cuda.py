"""The engine on a GPU with a bank by CUDA kernels; the rest of it is Triton's."""

from __future__ import annotations

from collections.abc import Sequence

from dds_fast.search.dispatch import Request, accept
from dds_fast.search.gpu import cuda_flow as flow
from dds_fast.search.gpu import weights
from dds_fast.search.gpu.start import start
from dds_fast.search.problem import AnyProblem
from dds_fast.search.schedule import Schedule
from dds_fast.search.search import Search

__all__ = ["TOGETHER", "can_run", "flow", "search"]

TOGETHER = 8


def can_run(request: Request, raise_error: bool = False) -> bool:
    """Where both the CUDA and the Triton kernels run, for searches with a bank."""
    if not flow.can_run(request, raise_error) or not weights.can_run(request, raise_error):
        return False
    return accept(None if request.flow else "has no flow to pass through", raise_error)


def search(problems: Sequence[AnyProblem], schedules: Sequence[Schedule], precision: str) -> Search:
    """Begin a search on the device, with flows in CUDA."""
    return start(problems, schedules, precision, flow)
