"""Files that appear whole or not at all, never by accident over others; tensors with a header."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dds_fast import locks

FORMAT_VERSION = 2
TEMPORARY = ".dds_fast-"
"""How the names of folders begin in which files are being written."""
ROOM = 2**20
"""Bytes; a disk with less has no room for what fails to be written."""


@contextmanager
def writing(path: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """A temporary path, renamed to `path` when the block ends without an error.

    What killed processes left half written beside `path` is removed.

    Raises:
        FileExistsError: `path` exists and `overwrite` is false.
        OSError: it could not be written, for instance on a full disk; names `path`.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; pass overwrite=True (--overwrite) to replace it")
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
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
        os.close(descriptor)


def _temporary(beside: Path) -> tuple[int, Path]:
    """A new folder, open and locked while a file is written in it, perhaps by way of others."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=beside, prefix=TEMPORARY))
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue  # swept before it was locked
        try:
            own = locks.lock(descriptor)
        except OSError:
            own = True  # no locks here, and nobody sweeps
        if own and folder.exists():
            return descriptor, folder
        os.close(descriptor)


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

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is truncated, foreign, of a newer format, or holds NaN or infinity.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such dictionary file: {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable dictionary file: {error}") from error
    try:
        header = json.loads(metadata["dds_fast"])
        version = int(header["format_version"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is a safetensors file, but not a dds_fast dictionary") from error
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {version}; this dds_fast reads up to {FORMAT_VERSION}"
        )
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{path} is damaged or inconsistent: {name} holds NaN or infinity")
    return header, tensors
