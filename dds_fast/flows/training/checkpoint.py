"""Checkpoints of a training: all that is needed to go on with the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from dds_fast.files import writing

FILE = "checkpoint.pt"


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write the state beside the last one, then put it in its place."""
    with writing(folder / FILE, overwrite=True) as temporary:
        torch.save(state, temporary)


def load(folder: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The state that a killed training of the same `identity` left in `folder`, if any.

    Only tensors and plain values are read; no code is executed.

    Raises:
        ValueError: the folder holds the checkpoint of another training, or a damaged one.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        found = state["identity"]
    except Exception as error:
        raise ValueError(
            f"{path} is not a readable checkpoint ({error}); delete it to begin again"
        ) from error
    differing = [
        f"{name} ({found.get(name)!r} there, {identity.get(name)!r} here)"
        for name in sorted(found.keys() | identity.keys())
        if found.get(name) != identity.get(name)
    ]
    if differing:
        raise ValueError(
            f"{path} belongs to a training with other {', '.join(differing)}; delete it to begin "
            "again, or use another folder"
        )
    return state


def remove(folder: Path) -> None:
    """Delete the checkpoint of a training that is done."""
    (folder / FILE).unlink(missing_ok=True)
