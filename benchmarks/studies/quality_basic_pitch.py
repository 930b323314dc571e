"""basic-pitch on the recordings of quality.py, by the same scores.

Its note posteriorgram stands for the activations: brought to the dictionary's frames by linear
interpolation, its 88 notes reduced to the packaged piano's 60. Its notes are those of its own note
creation with its default thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from kernels.peers.basic_pitch import LOWEST, SR, BasicPitch, notes_of, times
from scores import Heard, Recording, measure_heard

from dds_fast import audio

SOURCES = range(36, 96)


def heard(model: BasicPitch, waveform: np.ndarray, sources: Sequence[int] = SOURCES) -> Heard:
    """Posteriorgram and notes of a waveform at `SR`."""
    output = model.posteriorgrams(waveform)
    posteriorgram = output["note"]
    own = posteriorgram[:, [pitch - LOWEST for pitch in sources]].T
    return Heard(times(len(posteriorgram)), own, notes_of(output).only(sources))


def measure(name: str, recording: Recording) -> dict[str, Any]:
    """A row of the table."""
    model = BasicPitch()

    def hear(path: Path, seconds: float | None) -> Heard:
        waveform = audio.load(path, SR)
        return heard(model, waveform if seconds is None else waveform[: int(seconds * SR)])

    return measure_heard(name, "basic-pitch", recording, SOURCES, hear)
