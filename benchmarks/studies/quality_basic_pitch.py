"""basic-pitch on the recordings of quality.py, by the same scores.

Its note posteriorgram stands for the activations: brought to the dictionary's frames by linear
interpolation, its 88 notes reduced to the packaged piano's 60. Its notes are those of its own note
creation with its default thresholds.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from kernels.peers.basic_pitch import LOWEST, SR, BasicPitch, notes_of, times
from scores import Heard, Recording, measure_heard

from dds_fast import audio

SOURCES = range(36, 96)


def heard(model: BasicPitch, path: Path, seconds: float | None) -> Heard:
    """Posteriorgram and notes of a file."""
    waveform = audio.load(path, SR)
    if seconds is not None:
        waveform = waveform[: int(seconds * SR)]
    output = model.posteriorgrams(waveform)
    posteriorgram = output["note"]
    own = posteriorgram[:, [pitch - LOWEST for pitch in SOURCES]].T
    return Heard(times(len(posteriorgram)), own, notes_of(output).only(SOURCES))


def measure(name: str, recording: Recording) -> dict[str, Any]:
    """A row of the table."""
    model = BasicPitch()
    return measure_heard(name, "basic-pitch", recording, SOURCES, partial(heard, model))
