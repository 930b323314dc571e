"""Files that appear whole or not at all, never by accident over others; tensors with a header."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from dds_fast import locks

FORMAT_VERSION = 2
TEMPORARY = ".dds_fast-"
"""How the names of folders begin in which files are being written."""
ROOM = 2**20
"""Bytes; a disk with less has no room for what fails to be written."""

RESERVED_FILES = 256
"""Files that a process may have open besides."""

STORED = {"BF16", "F16", "F32", "F64", "U8", "I8", "I16", "I32", "I64"}
"""Dtypes that a file may hold, in safetensors' words: parameters, and indices."""

T = TypeVar("T")


@contextmanager
def writing(path: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """A temporary path, renamed to `path` when the block ends without an error.

    What killed processes left half written beside `path` is removed.

    Raises:
        FileExistsError: `path` exists and `overwrite` is false.
        OSError: it could not be written, for instance on a full disk; names `path`.
    """
    path = Path(path)
    _check_free(path, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in path.parent.glob(f"{TEMPORARY}*"):
        if locks.is_left_over(other):
            shutil.rmtree(other, ignore_errors=True)
    descriptor, folder = _temporary(path.parent)
    temporary = folder / f"file{path.suffix[-16:]}"
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    except Exception as error:
        # libsndfile, torch and safetensors have errors of their own for a full disk.
        if isinstance(error, ValueError | TypeError) or shutil.disk_usage(path.parent).free > ROOM:
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def _temporary(beside: Path) -> tuple[int | None, Path]:
    """A new folder, open and locked while a file is written in it, perhaps by way of others."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=beside, prefix=TEMPORARY))
        if sys.platform == "win32":  # where folders cannot be opened
            return None, folder
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue  # swept before it was locked
        if locks.lock(descriptor) and folder.exists():
            return descriptor, folder
        os.close(descriptor)


def _check_free(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; pass overwrite=True (--overwrite) to replace it")
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))


def probe_file(path: Path, overwrite: bool = False) -> None:
    """Whether a file can be written, asked before the work whose result it takes.

    Raises:
        FileExistsError: it exists and `overwrite` is false.
        OSError: it, or its folder, cannot be written.
    """
    _check_free(path, overwrite)
    probe(path.parent)


def probe(folder: Path) -> None:
    """Make a folder in which files can be written, before the work whose results it takes.

    Raises:
        OSError: it cannot be made or written to; names the path.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file: results need a folder")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def allow_open(n: int) -> None:
    """Let this process have so many more files open, as far as the system allows it.

    Example:
        >>> allow_open(10)
    """
    try:
        import resource
    except ImportError:  # Windows, which counts otherwise
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = n + RESERVED_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def check_case(paths: Iterable[Path], folder: Path) -> None:
    """Whether paths below a folder are as many files there as there are paths.

    Raises:
        ValueError: two differ only by case, and the folder's file system ignores that, as those of
            macOS and Windows do.
    """
    if not ignores_case(folder):
        return
    folded: dict[str, Path] = {}
    for path in paths:
        other = folded.setdefault(str(path).casefold(), path)
        if other != path:
            raise ValueError(f"{other} and {path} are one file here: the file system ignores case")


def ignores_case(folder: Path) -> bool:
    """Whether names that differ only by case are one in an existing folder."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=TEMPORARY) as file:
        path = Path(file.name)
        return path.with_name(path.name.swapcase()).exists()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_tensors(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    header: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> None:
    """Write a safetensors file whose metadata holds a JSON header.

    Raises:
        FileExistsError: `path` exists and `overwrite` is false.
    """
    from safetensors.torch import save_file

    text = json.dumps({"format_version": FORMAT_VERSION, **header})
    with writing(path, overwrite) as temporary:
        save_file(dict(tensors), temporary, metadata={"dds_fast": text})


def read_tensors(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The header and the tensors that `write_tensors` wrote; no code is executed.

    Returns:
        The header, a dict; and the tensors: floats as float32, or as float64 where they were stored
        so, all finite; integers as int64.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is truncated, foreign, of a newer format, or holds NaN, infinity or
            tensors of another kind.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such dictionary file: {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = list(file.keys())
            dtypes = {name: file.get_slice(name).get_dtype() for name in names}
            stored = {name: file.get_tensor(name) for name in names if dtypes[name] in STORED}
    except (SafetensorError, RuntimeError) as error:  # torch's, of tensors that are not aligned
        raise ValueError(f"{path} is not a readable dictionary file: {error}") from error
    try:
        header = json.loads(metadata["dds_fast"])
        version = header["format_version"]
        if type(version) is not int or version < 1:
            raise ValueError("no version")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is a safetensors file, but not a dds_fast dictionary") from error
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {version}; this dds_fast reads up to {FORMAT_VERSION}"
        )
    with named(f"{path} is damaged or inconsistent"):
        for name in names:
            if name not in stored:
                raise ValueError(f"{name} must hold floats or integers, not {dtypes[name]}")
        return header, {name: _widened(name, tensor) for name, tensor in stored.items()}


def _widened(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor.long()
    tensor = tensor if tensor.dtype == torch.float64 else tensor.float()
    check_finite(name, tensor)
    return tensor


def check_finite(name: str, tensor: Tensor) -> None:
    """Refuse a tensor of a file that holds NaN or infinity with a ValueError."""
    # What sums up to a finite number is finite: one pass, and rarely another one.
    if not math.isfinite(float(tensor.sum())) and not bool(torch.isfinite(tensor).all()):
        raise ValueError(f"{name} holds NaN or infinity")


@contextmanager
def named(place: str) -> Iterator[None]:
    """Whatever goes wrong with what was read, as a ValueError that names the place.

    Example:
        >>> with named("dictionary.safetensors"), named("sources"):
        ...     set([[60], [64]])
        Traceback (most recent call last):
        ValueError: dictionary.safetensors: sources: unhashable type: 'list'
    """
    try:
        yield
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{place}: {error}") from error


def field(header: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """A field of a header that must be there and of a type.

    Example:
        >>> field({"sources": 3}, "sources", list)
        Traceback (most recent call last):
        ValueError: sources must be a list, not 3
    """
    if name not in header:
        raise ValueError(f"{name} is missing")
    value = header[name]
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be a {kind.__name__}, not {value!r}")
    return value
