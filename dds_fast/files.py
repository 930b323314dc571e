"""Files that appear whole or not at all, never by accident over others; tensors with a header."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FORMAT_VERSION = 2


@contextmanager
def writing(path: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it when the block ends without an error.

    Raises:
        FileExistsError: `path` exists and `overwrite` is false.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; pass overwrite=True (--overwrite) to replace it")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
