"""What searches keep in memory, and what to say where it does not fit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


def needed(kind: str, algorithm: str, J: int, F: int, T: int) -> int:
    """Floats that a search of J entries keeps for T frames of F bins.

    Activations, codes and their moments, entries, and what they explain.
    """
    if algorithm == "staged":
        return 2 * J * T + min(J, 2 * F) ** 2 + 3 * J * F + 3 * F * T
    n_entries = J * T if kind == "dds1" else J
    n_codes = 0 if kind == "nmf" else n_entries
    return 5 * J * T + 2 * n_entries * F + 4 * n_codes * F


@contextmanager
def explained(size: int, kind: str, on_cpu: bool) -> Iterator[None]:
    """Turns what a search raises where memory runs out into a MemoryError that says what it needs.

    A search that cannot fit this machine is refused before the work.

    Args:
        size: bytes that it keeps.
        kind: of the dictionary.
        on_cpu: whether it computes on the CPU.
    """
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
