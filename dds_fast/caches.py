"""Where compilers keep their results, for users without a home, as in containers.

Numba, on which librosa stands, and Triton do not load, or not run, where they find no place.
"""

from __future__ import annotations

import importlib.util
import os
import stat
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path


def ensure(variable: str, usual: str, *packages: str) -> None:
    """Point a cache to a temporary folder, unless one is chosen or its usual place can be written.

    Args:
        variable: of the environment, which says where the cache is.
        usual: where it is else; may begin with "~".
        packages: those whose own folders serve as well.
    """
    places = [Path(os.path.expanduser(usual)), *_folders(packages)]
    if variable not in os.environ and not any(map(_is_writable, places)):
        os.environ[variable] = _temporary(f"dds_fast-{variable.lower()}")


def _folders(packages: Iterable[str]) -> list[Path]:
    found = (importlib.util.find_spec(package) for package in packages)
    return [Path(spec.origin).parent for spec in found if spec is not None and spec.origin]


def _is_writable(folder: Path) -> bool:
    """Whether it can be written to, or made. ("~" stays relative where there is no home.)"""
    if not folder.is_absolute():
        return False
    while not os.path.lexists(folder):
        folder = folder.parent
    return os.access(folder, os.W_OK | os.X_OK) and os.path.isdir(folder)


def _temporary(name: str) -> str:
    """A folder that later processes find again, if it is and stays this user's alone."""
    if sys.platform == "win32":  # whose temporary folder is the user's own
        path = os.path.join(tempfile.gettempdir(), name)
        os.makedirs(path, exist_ok=True)
        return path
    path = os.path.join(tempfile.gettempdir(), f"{name}-{os.getuid()}")
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            return tempfile.mkdtemp(prefix=name)
    return path
