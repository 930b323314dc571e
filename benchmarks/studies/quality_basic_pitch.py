"""basic-pitch on the recordings of quality.py, by the same scores.

Its note posteriorgram stands for the activations: brought to the dictionary's frames by linear
interpolation, its 88 notes reduced to the packaged piano's 60. Its notes are those of its own note
creation with its default thresholds.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from kernels.peers.basic_pitch import LOWEST, SR, BasicPitch, notes_of, times
from scores import NOTE_SCORES, Recording, average_precision

from dds_fast import audio, metrics
from dds_fast.datasets import Labels

SOURCES = range(36, 96)


def heard(model: BasicPitch, path: Path, seconds: float | None) -> tuple[dict, Labels]:
    """Posteriorgrams and notes of a file."""
    waveform = audio.load(path, SR)
    if seconds is not None:
        waveform = waveform[: int(seconds * SR)]
    output = model.posteriorgrams(waveform)
    return output, notes_of(output).only(SOURCES)


def at(frame_times: np.ndarray, posteriorgram: np.ndarray) -> np.ndarray:
    """``(S, T)`` of `SOURCES` at other times than its own."""
    own = times(len(posteriorgram))
    return np.stack(
        [np.interp(frame_times, own, posteriorgram[:, pitch - LOWEST]) for pitch in SOURCES]
    )


def measure(name: str, recording: Recording) -> dict[str, Any]:
    """A row of the table."""
    config = recording.spectrogram.config
    model = BasicPitch()
    activations, found, note_scores = [], [], []
    start = time.perf_counter(), time.process_time()
    outputs = [heard(model, path, recording.seconds) for path, _ in recording.files]
    seconds, processor_seconds = time.perf_counter() - start[0], time.process_time() - start[1]
    for (output, notes), (_, labels) in zip(outputs, recording.files, strict=True):
        labels = labels.only(SOURCES).shifted(recording.delay)
        first, end = 0, recording.spectrogram.values.shape[1]
        if recording.concatenated:
            first = int(config.frames(labels.intervals[:, 0].min()))
            end = int(config.frames(labels.intervals[:, 1].max()))
        frame_times = config.times(end)[first:]
        activations.append(at(frame_times, output["note"]))
        found.append(notes.roll(SOURCES, frame_times))
        played, told = (labels.intervals, labels.pitches), (notes.intervals, notes.pitches)
        note_scores.append(metrics.note_scores(*played, *told))
    H = np.concatenate(activations, axis=1)
    labels = recording.labels.shifted(recording.delay)
    roll = labels.roll(SOURCES, config.times(H.shape[1]))
    live = roll.any(axis=0)
    scores = {"psa": metrics.psa(H[:, live], roll[:, live])}
    scores |= {f"l0({eps:g})": metrics.sparsity(H[:, live], eps) for eps in metrics.SPARSITY_EPS}
    frames = metrics.frame_scores(np.concatenate(found, axis=1)[:, live], roll[:, live], 0)
    scores |= {f"frame_{score}": value for score, value in frames.items()}
    best = metrics.best_threshold(H[:, live], roll[:, live])
    scores["best_threshold"], scores["frame_f1_at_best_threshold"] = best
    scores["average_precision"] = average_precision(H, roll)
    scores |= {name: float(np.mean([one[name] for one in note_scores])) for name in NOTE_SCORES}
    return {
        "set": name,
        "kind": "basic-pitch",
        "n_frames": H.shape[1],
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        "label_delay": recording.delay,
        "scores": scores,
    }
