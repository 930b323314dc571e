"""Small dictionaries and sounds for the tests: quick to make, quick to decompose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dds_fast import Decomposition, Dictionary, SpectrogramConfig
from dds_fast.audio.windows import Window
from dds_fast.datasets import NoteFrames
from dds_fast.flows import ConditionalGlow, RealNVPBank

CONFIG = SpectrogramConfig(n_fft=128, hop=64)
SOURCES = (60, 64, 67)
FRAME = 128 / 16000
"""Seconds per frame of the handmade results."""

KINDS = ("nmf", "dds1", "dds2", "dds3")


def dictionary(
    kind: str, sources: tuple[int | str, ...] = SOURCES, **metadata: object
) -> Dictionary:
    """A dictionary of three sources and 64 bins; its flow is not trained."""
    if kind == "nmf":
        frames = np.random.default_rng(1).random((4 * len(sources), 64), dtype=np.float32)
        notes = dict(zip(sources, np.split(frames, len(sources)), strict=True))
        return Dictionary.from_frames(NoteFrames.from_mapping(notes), CONFIG, metadata)
    flow = ConditionalGlow if kind == "dds3" else RealNVPBank
    made = Dictionary.from_flow(
        flow(len(sources), 64, n_steps=2, width=8, depth=1), sources, CONFIG, metadata
    )
    return made.as_kind(kind)


def handmade(activations: Any, **changes: Any) -> Decomposition:
    """A result with given source activations ``(3, T)`` of sources 60, 64 and 67, 8 ms a frame."""
    H = np.asarray(activations, dtype=np.float32)
    window = Window(changes.pop("components", None), H, changes.pop("labels", np.arange(3)))
    parts: dict[str, Any] = {
        "windows": (window,),
        "source_activations": H,
        "sources": SOURCES,
        "kind": "dds1",
        "config": SpectrogramConfig(n_fft=128, hop=128),
        "history": np.array([2.0, 1.0]),
        "stop_reason": "max_steps",
    }
    return Decomposition(**{**parts, **changes})


def tone(
    n_samples: int = 3200, frequency: float = 440.0, sr: int = 16000, dtype: type = np.float32
) -> np.ndarray:
    """A sinusoid with a quiet second partial."""
    t = np.arange(n_samples) / sr
    wave = 0.4 * np.sin(2 * np.pi * frequency * t) + 0.1 * np.sin(4 * np.pi * frequency * t + 1)
    return wave.astype(dtype)


def recording(path: Path, frequency: float = 262.0) -> str:
    """Write a tone of 0.3 s."""
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(4800, frequency), 16000)
    return str(path)
