"""What work keeps in memory: told before it begins, or where the memory runs out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CONTAINER = Path("/sys/fs/cgroup/memory.max")
"""Holds what a container may take, in bytes, or "max"."""


@contextmanager
def explained(size: float, work: str, lower: str, device: str = "cpu") -> Iterator[None]:
    """Turns what work raises where memory runs out into a MemoryError that says what it needs.

    Work on a CPU that can fit neither the machine nor the container is refused before it begins.

    Args:
        size: bytes that it keeps.
        work: what it is.
        lower: what would lower them.
        device: the type of the device where it computes.

    Example:
        >>> with explained(2**60, "a century of sound", "a shorter recording"):
        ...     pass
        Traceback (most recent call last):
        MemoryError: out of memory: a century of sound keeps about 1073741824.0 GiB; a shorter ...
    """
    text = f"out of memory: {work} keeps about {size / 2**30:.1f} GiB; {lower} lowers it"
    if device == "cpu" and size > limit():
        raise MemoryError(text)
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        said = str(error).lower()
        if said.startswith("out of memory: ") or not (
            isinstance(error, MemoryError) or "out of memory" in said or "can't allocate" in said
        ):
            raise
        raise MemoryError(text) from error


def limit() -> float:
    """Bytes that a process can have: those of the machine, or of its container.

    Example:
        >>> limit() > 2**20
        True
    """
    sizes = [float("inf")]
    with suppress(AttributeError, ValueError):  # not on this system
        sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with suppress(OSError, ValueError):
        sizes.append(int(CONTAINER.read_text()))
    return min(sizes)
