"""What a search of a labelled recording is worth: the row that the comparisons share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

import dds_fast
from dds_fast import metrics
from dds_fast.datasets import Labels

NOTE_SCORES = ("onset_f1", "onset_offset_f1")


@dataclass(frozen=True)
class Recording:
    """What is scored.

    Attributes:
        spectrogram: of a recording, or of chords cut to their labels one after the other.
        labels: its notes.
        delay: seconds by which the sound comes after the labels.
        files: what it was made of, with labels in the time of the file; onsets are scored on these.
        concatenated: whether these were cut.
        seconds: of the only file that is heard; None for all.
    """

    spectrogram: dds_fast.Spectrogram
    labels: Labels
    delay: float
    files: tuple[tuple[Path, Labels], ...] = ()
    concatenated: bool = False
    seconds: float | None = None


def measure(
    name: str,
    dictionary: dds_fast.Dictionary,
    recording: Recording,
    options: dict[str, Any],
    keep: Path | None = None,
    *,
    progress: bool = True,
) -> dict[str, Any]:
    """A row of the table; the activations are kept in a file, if asked for."""
    spectrogram, labels, delay = recording.spectrogram, recording.labels, recording.delay
    last: dict[str, Any] = {}
    start = time.perf_counter(), time.process_time()
    result = dds_fast.decompose(
        spectrogram, dictionary, progress=progress, callback=last.update, **options
    )
    seconds, processor_seconds = time.perf_counter() - start[0], time.process_time() - start[1]
    X = spectrogram.values
    error = metrics.reconstruction(X, result.reconstruction())["relative_error"]
    result = result.without_components()
    if keep is not None:
        result.save(keep, overwrite=True)
    scores = metrics.evaluate(result, labels, label_delay=delay)
    plain = np.zeros_like(result.source_activations)
    np.add.at(plain, result.labels, result.activations)
    without = metrics.evaluate(replace(result, source_activations=plain), labels, label_delay=delay)
    eps = 1e-3 * float(result.source_activations.max())
    return {
        "set": name,
        "kind": dictionary.kind,
        "n_frames": X.shape[1],
        "n_entries": len(result.labels),
        "settings": result.settings,
        "n_steps": result.n_steps,
        "stop_reason": result.stop_reason,
        "cost": float(result.history[-1]),
        "lowest_cost": float(np.min(result.history)),
        "last_step_size": last.get("step_size"),
        "relative_error": error,
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        "label_delay": delay,
        "scores": {k: v for k, v in scores.items() if not k.startswith("note_")}
        | {
            "l0(0.001 max)": metrics.sparsity(result.source_activations, eps),
            "average_precision": average_precision(
                result.source_activations, labels.shifted(delay).roll(result.sources, result.times)
            ),
        }
        | onset_scores(recording, scores, dictionary, options),
        "without_rescaling": {k: without[k] for k in ("psa", "frame_f1_at_best_threshold")},
    }


def onset_scores(
    recording: Recording,
    scores: dict[str, float],
    dictionary: dds_fast.Dictionary,
    options: dict[str, Any],
) -> dict[str, float]:
    """Note F1 by onsets, and by offsets too: means over the recording's files, where known."""
    if not recording.files:
        return {}
    if not recording.concatenated:
        return {name: scores[f"note_{name}"] for name in NOTE_SCORES}
    found = [
        metrics.evaluate(dds_fast.decompose(path, dictionary, **options), labels)
        for path, labels in recording.files
    ]
    return {name: float(np.mean([one[f"note_{name}"] for one in found])) for name in NOTE_SCORES}


@dataclass(frozen=True)
class Heard:
    """What is found in a file: the times of frames, ``(S, T)`` activations, and the notes."""

    times: np.ndarray
    activations: np.ndarray
    notes: Labels


def measure_heard(
    name: str,
    kind: str,
    recording: Recording,
    sources: Sequence[int],
    hear: Callable[[Path, float | None], Heard],
) -> dict[str, Any]:
    """The row of who hears whole files; frames are then cut as the recording's were."""
    config = recording.spectrogram.config
    activations, found, note_scores = [], [], []
    start = time.perf_counter(), time.process_time()
    heard = [hear(path, recording.seconds) for path, _ in recording.files]
    seconds, processor_seconds = time.perf_counter() - start[0], time.process_time() - start[1]
    for own, (_, labels) in zip(heard, recording.files, strict=True):
        labels = labels.only(sources).shifted(recording.delay)
        first, end = 0, recording.spectrogram.values.shape[1]
        if recording.concatenated:
            first = int(config.frames(labels.intervals[:, 0].min()))
            end = int(config.frames(labels.intervals[:, 1].max()))
        times = config.times(end)[first:]
        activations.append(np.stack([np.interp(times, own.times, row) for row in own.activations]))
        found.append(own.notes.roll(sources, times))
        played, told = (labels.intervals, labels.pitches), (own.notes.intervals, own.notes.pitches)
        note_scores.append(metrics.note_scores(*played, *told))
    H = np.concatenate(activations, axis=1)
    labels = recording.labels.shifted(recording.delay)
    roll = labels.roll(sources, config.times(H.shape[1]))
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
        "kind": kind,
        "n_frames": H.shape[1],
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        "label_delay": recording.delay,
        "scores": scores,
    }


def average_precision(activations: np.ndarray, roll: np.ndarray) -> float:
    """Area under precision over recall of single frames, where a reference note sounds."""
    live = roll.any(axis=0)
    return float(average_precision_score(roll[:, live].ravel(), activations[:, live].ravel()))
