"""Do sources sound like drums: a hit and its decay, no note that is held?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dds_fast import audio
from dds_fast.datasets.note_files import Recording

BLOCK = 0.01
"""Seconds that the energy is summed over."""

SHORT = 0.15
"""Seconds within which half of a hit's energy has sounded; of piano notes a third to a half."""


def half_life(waveform: np.ndarray, sr: float) -> float:
    """Seconds from the loudest 10 ms until half of the energy that follows has sounded.

    Example:
        >>> t = np.arange(16000) / 16000
        >>> tone = np.sin(2 * np.pi * 200 * t)
        >>> round(half_life(tone * np.exp(-20 * t), 16000), 2), round(half_life(tone, 16000), 1)
        (0.01, 0.5)
    """
    size = max(1, round(BLOCK * sr))
    blocks = np.pad(waveform, (0, -len(waveform) % size)).reshape(-1, size)
    energy = np.square(blocks, dtype=np.float64).sum(axis=1)
    following = np.cumsum(energy[int(np.argmax(energy > 0.5 * energy.max())) :])
    return BLOCK * int(np.searchsorted(following, 0.5 * following[-1]))


def are_drums(recordings: Sequence[Recording]) -> bool:
    """Whether no source has a pitch and most takes are hits.

    What cannot be read does not count.

    Example:
        >>> from pathlib import Path
        >>> are_drums([Recording(Path("60.wav"), 60, "60")])
        False
    """
    if any(recording.pitch is not None for recording in recordings):
        return False
    lives = []
    for recording in recordings:
        try:
            lives.append(half_life(*audio.read_file(recording.path)))
        except (ValueError, OSError):
            continue
    return bool(lives) and float(np.median(lives)) < SHORT
