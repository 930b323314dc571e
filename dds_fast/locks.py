"""Locks on files and folders: the system lifts them when the process that holds one ends.

Windows has none of that kind: there everybody gets what they ask for.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl


def lock(descriptor: int, *, without: bool = True) -> bool:
    """Whether an open file or folder is this process's alone from now on, until it is closed.

    Args:
        descriptor: of the file or folder.
        without: the answer where the file system has no locks.
    """
    if sys.platform == "win32":
        return without
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return without
    return True


def is_left_over(path: Path) -> bool:
    """Whether whoever locked a folder has ended; False where that cannot be told."""
    if sys.platform == "win32":
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return lock(descriptor, without=False)
    finally:
        os.close(descriptor)


CLAIM = ".claim"


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Make a folder and claim it among all processes: whether it is this one's in the block.

    The claim of a process that was killed is free. A folder that is still empty is removed in the
    end. On file systems without locks, everybody gets what they ask for.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "a"
        >>> with claimed(folder) as first, claimed(folder) as second:
        ...     first, second
        (True, False)
        >>> folder.exists()
        False
    """
    if sys.platform == "win32":
        folder.mkdir(parents=True, exist_ok=True)
        try:
            yield True
        finally:
            with suppress(OSError):
                folder.rmdir()
        return
    path = folder / CLAIM
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:  # another process has just removed the folder
            continue
        own = lock(descriptor)
        if not own or _is(descriptor, path):
            break
        os.close(descriptor)  # of a claim that ended in between
    try:
        yield own
    finally:
        if own:
            path.unlink(missing_ok=True)
        os.close(descriptor)
        with suppress(OSError):
            folder.rmdir()


def _is(descriptor: int, path: Path) -> bool:
    """Whether a path still leads to an open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
