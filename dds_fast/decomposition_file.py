"""A decomposition as a compressed ``.npz`` file, without pickle: nothing in it is executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

import numpy as np

from dds_fast.arrays import as_numpy
from dds_fast.audio import SpectrogramConfig
from dds_fast.audio.windows import Window
from dds_fast.files import writing
from dds_fast.notes.found import stored_detection
from dds_fast.temporal.network import Evidence

OF_A_WINDOW = ("components", "activations", "labels", "log_likelihoods")
AS_THEY_ARE = ("sources", "kind", "stop_reason", "settings", "gain", "tuning", "n_samples")
"""Fields that JSON holds."""

LATER = ("settings", "gain", "tuning", "n_samples")
"""Such of them as files of earlier versions may lack."""

ARRAYS = ("source_activations", "history", "times", "frequencies")


def save(fields: Mapping[str, Any], path: str | Path, overwrite: bool) -> None:
    """Write a decomposition, all but the recording and the score.

    Args:
        fields: those of the `dds_fast.Decomposition`, its times and frequencies.
        path: of the file.
        overwrite: replace an existing file.
    """
    windows, detection, evidence = (fields[name] for name in ("windows", "detection", "evidence"))
    header = {name: fields[name] for name in AS_THEY_ARE} | {
        "config": asdict(fields["config"]),
        "detection": None if detection is None else asdict(detection),
        "windows": [window.first for window in windows],
    }
    arrays: dict[str, Any] = {name: as_numpy(fields[name]) for name in ARRAYS} | {
        name + _suffix(index): as_numpy(value)
        for index, window in enumerate(windows)
        for name in OF_A_WINDOW
        if (value := getattr(window, name)) is not None
    }
    if evidence is not None:
        arrays |= {name: value.astype(np.float16) for name, value in vars(evidence).items()}
    with writing(path, overwrite) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, header=np.array(json.dumps(header)), **arrays)


def load(path: str | Path) -> dict[str, Any]:
    """The fields of the decomposition that `save` wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is truncated or is not a saved decomposition.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with np.load(path, allow_pickle=False) as file:
            return _fields(file)
    except Exception as error:  # zip, zlib, npy and JSON readers each raise their own
        raise ValueError(f"{path} is not a saved decomposition: {error}") from error


def _fields(file: Mapping[str, Any]) -> dict[str, Any]:
    header = json.loads(str(file["header"]))
    evidence = None
    if "sounding" in file:
        evidence = Evidence(*(file[one.name].astype(np.float32) for one in fields_of(Evidence)))
    return {
        **{name: header[name] for name in AS_THEY_ARE if name in header or name not in LATER},
        "windows": tuple(
            _window(file, _suffix(index), first)
            for index, first in enumerate(header.get("windows", [0]))
        ),
        "sources": tuple(header["sources"]),
        "config": SpectrogramConfig(**header["config"]),
        "detection": stored_detection(header.get("detection"), header.get("threshold")),
        "evidence": evidence,
        "source_activations": file["source_activations"],
        "history": file["history"],
    }


def _suffix(index: int) -> str:
    """What follows the names of a window's arrays."""
    return f"_{index}" if index else ""


def _window(file: Mapping[str, Any], suffix: str, first: int) -> Window:
    W, H, labels, log_likelihoods = (
        file[name + suffix] if name + suffix in file else None for name in OF_A_WINDOW
    )
    if H is None or labels is None:
        raise KeyError(f"activations{suffix} or labels{suffix}")
    return Window(W, H, labels, log_likelihoods, first)
