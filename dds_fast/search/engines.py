"""The engines, and the choice between them, made once per search.

An engine is a module that answers: ``can_run(request)``, or why not; ``flow``, a module whose
``forward`` and ``backward`` pass rows through a flow; ``search(problems, schedules, precision)``;
and ``TOGETHER``, how many recordings it searches better together than one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from dds_fast import arrays
from dds_fast.search import cpu, memory, reference
from dds_fast.search.dispatch import Request, select
from dds_fast.search.gpu import cuda, triton
from dds_fast.search.problem import AnyProblem, Problem
from dds_fast.search.schedule import Schedule
from dds_fast.search.search import Search

ENGINES: dict[str, ModuleType] = {
    "cpu": cpu,
    "triton": triton,
    "cuda": cuda,  # by name, until it has been measured beside Triton's
    "reference": reference,
}


def choose(problem: AnyProblem, precision: str | None = None, backend: str = "auto") -> ModuleType:
    """The fastest engine that can run searches of such a problem, or the one that is named.

    Raises:
        ValueError: unknown engine or precision.
        RuntimeError: the engine asked for, or every engine, refuses; with the reasons.
    """
    return select("search", ENGINES, Request.of(problem.X, precision, problem.flow), backend)


@arrays.isolated()
def start(
    problems: Sequence[AnyProblem],
    schedules: Sequence[Schedule],
    *,
    precision: str | None = None,
    backend: str = "auto",
) -> Search:
    """Begin the search of some recordings that share a dictionary.

    Args:
        problems: one per recording, all of one kind.
        schedules: one per recording: step sizes and stop rules of a gradient search, step size and
            most steps of a staged one.
        precision: "float32" and so on; by default the dtype of the problems.
        backend: an engine's name, or "auto".

    Raises:
        ValueError: unknown engine or precision; no problems, not a schedule for each, or problems
            of several kinds, dtypes or devices.
        RuntimeError: the engine asked for, or every engine, refuses; with the reasons.
        MemoryError: the searches do not fit, with their size; before any work where they could not
            fit this machine.
    """
    if not problems or len(problems) != len(schedules):
        raise ValueError(f"{len(problems)} problems cannot begin with {len(schedules)} schedules")
    kinds = {(type(p).__name__, p.X.dtype, p.X.device, p.flow is None) for p in problems}
    if len(kinds) > 1:
        raise ValueError(f"problems searched together must be of one kind, not {kinds}")
    request = Request.of(problems[0].X, precision, problems[0].flow)
    engine = select("search", ENGINES, request, backend)
    size = sum(_floats(problem) for problem in problems) * problems[0].X.itemsize
    with memory.explained(size, _kind(problems[0]), problems[0].X.device.type):
        return engine.search(problems, schedules, request.precision)


def _kind(problem: AnyProblem) -> str:
    """The kind of dictionary that poses such a problem, as to memory."""
    if problem.flow is None:
        return "nmf"
    return "dds1" if isinstance(problem, Problem) and problem.per_frame else "dds2"


def _floats(problem: AnyProblem) -> int:
    """What its search keeps."""
    F, T = problem.X.shape
    if isinstance(problem, Problem):
        return memory.needed(_kind(problem), "gradient", len(problem.H), F, T)
    return memory.needed(_kind(problem), "staged", len(problem.labels), F, T)
