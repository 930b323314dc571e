"""Sounds to decompose: made from a seed, or recordings of a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dds_fast import audio

SR = 16000
RINGS = 8.0
"""Seconds after which a tone has decayed below what float32 resolves."""


def piano_like(seconds: float) -> np.ndarray:
    """Decaying harmonic tones, one or two at a time, from a seed."""
    generator = np.random.default_rng(0)
    t = np.arange(int(seconds * SR)) / SR
    wave = np.zeros_like(t)
    for onset in np.arange(0, seconds, 0.25):
        pitch = generator.integers(40, 90)
        frequency = 440 * 2 ** ((pitch - 69) / 12)
        sounding = slice(int(np.ceil(onset * SR)), int((onset + RINGS) * SR))
        since = t[sounding] - onset
        for partial in range(1, 1 + min(8, int(0.45 * SR / frequency))):
            decay = np.exp(-since * (1.5 + 0.7 * partial)) / partial
            tone = decay * np.sin(2 * np.pi * partial * frequency * since)
            wave[sounding] += generator.uniform(0.3, 1.0) * tone
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


def recorded(folder: Path, seconds: float) -> np.ndarray:
    """The recordings below a folder one after the other, in the order of their names.

    Raises:
        ValueError: they are shorter.
    """
    n_samples = int(seconds * SR)
    parts: list[np.ndarray] = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".flac", ".wav")):
        if sum(map(len, parts)) >= n_samples:
            break
        parts.append(audio.load(path, SR))
    if sum(map(len, parts)) < n_samples:
        raise ValueError(f"the recordings below {folder} last less than {seconds:g} s")
    return np.concatenate(parts)[:n_samples]
