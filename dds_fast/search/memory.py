"""What searches keep in memory, and what to say where it does not fit."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dds_fast.search.problem import AnyProblem, Problem


def needed(problem: AnyProblem) -> int:
    """Bytes that a search keeps: activations, codes and moments, entries, what it explains."""
    F, T = problem.X.shape
    if isinstance(problem, Problem):
        J = len(problem.H)
        n_entries = J * T if problem.per_frame else J
        n_codes = 0 if problem.flow is None else n_entries
        n_floats = 5 * J * T + 2 * n_entries * F + 4 * n_codes * F
    else:
        J = len(problem.labels)
        n_floats = 2 * J * T + min(J, 2 * F) ** 2 + 3 * J * F + 3 * F * T
    return n_floats * problem.X.element_size()


@contextmanager
def explained(problems: Sequence[AnyProblem], kind: str) -> Iterator[None]:
    """Turns what a search raises where memory runs out into a MemoryError that says what it needs.

    One that cannot fit this machine is refused before the work.
    """
    size = sum(needed(problem) for problem in problems)
    on_cpu = problems[0].X.device.type == "cpu"
    if on_cpu and size > _physical_memory():
        raise MemoryError(_advice(size, kind))
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error).lower()
        if not isinstance(error, MemoryError) and not any(
            words in text for words in ("out of memory", "can't allocate")
        ):
            raise
        raise MemoryError(_advice(size, kind)) from error


def _physical_memory() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):  # not on this system
        return float("inf")


def _advice(size: int, kind: str) -> str:
    lower = {
        "nmf": "a dictionary of fewer frames or a shorter recording",
        "dds1": "a shorter recording or as_kind('dds2')",
    }.get(kind, "n_components or a shorter recording")
    return (
        f"out of memory: this {kind} search keeps about {size / 2**30:.1f} GiB; {lower} lowers it"
    )
