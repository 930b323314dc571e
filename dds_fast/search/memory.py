"""What searches keep in memory, and what to say where it does not fit."""

from __future__ import annotations

from contextlib import AbstractContextManager

from dds_fast import memory


def needed(kind: str, algorithm: str, J: int, F: int, T: int) -> int:
    """Floats that a search of J entries keeps for T frames of F bins.

    Activations, codes and their moments, entries, and what they explain.
    """
    if algorithm == "staged":
        return 2 * J * T + min(J, 2 * F) ** 2 + 3 * J * F + 3 * F * T
    n_entries = J * T if kind == "dds1" else J
    n_codes = 0 if kind == "nmf" else n_entries
    return 5 * J * T + 2 * n_entries * F + 4 * n_codes * F


def explained(size: int, kind: str, device: str) -> AbstractContextManager[None]:
    """See `dds_fast.memory.explained`.

    Args:
        size: bytes that a search keeps.
        kind: of its dictionary.
        device: the type of the device where it computes.
    """
    lower = {
        "nmf": "a dictionary of fewer frames or a shorter recording",
        "dds1": "a shorter recording or as_kind('dds2')",
    }.get(kind, "n_components or a shorter recording")
    return memory.explained(size, f"this {kind} search", lower, device)
