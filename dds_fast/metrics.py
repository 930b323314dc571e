"""Scores of source activations and notes against a reference.

PSA and sparsity are the DDS paper's (section IV-C); frame and note scores are those of
scikit-learn and mir_eval. Rolls and activations are ``(S, T)``.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dds_fast.datasets.labels import Labels
    from dds_fast.result import Decomposition

SPARSITY_EPS = (1e-3, 1e-2, 1e-1)


def _check(source_activations: np.ndarray, roll: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    activations, roll = np.asarray(source_activations), np.asarray(roll)
    if activations.ndim != 2 or activations.shape != roll.shape:
        raise ValueError(
            f"activations {activations.shape} and roll {roll.shape} must have the same (S, T) shape"
        )
    if not np.isfinite(activations).all():
        raise ValueError("the activations hold NaN or infinite values")
    if activations.min(initial=0) < 0:
        raise ValueError("the activations hold negative values")
    return activations, roll.astype(bool)


def psa(source_activations: np.ndarray, roll: np.ndarray) -> float:
    """Proportion of source activity that is attributed to sounding sources.

    ``sum(H Y) / sum(H)`` over sources and frames.

    Args:
        source_activations: ``(S, T)``, non-negative, rescaled by component norms.
        roll: ``(S, T)`` binary.

    Returns:
        A number in [0, 1]; NaN with a warning if the activations are all zero.

    Raises:
        ValueError: shapes differ, or values are negative or not finite.

    Source: DDS paper (arXiv 2211.15524), Eq. 1.

    Example:
        >>> psa(np.array([[3.0, 0.0], [1.0, 0.0]]), np.array([[1, 1], [0, 0]]))
        0.75
    """
    activations, roll = _check(source_activations, roll)
    total = activations.sum(dtype=np.float64)
    if total == 0:
        warnings.warn("PSA is undefined: the activations are all zero", stacklevel=2)
        return float("nan")
    return float(activations[roll].sum(dtype=np.float64) / total)


def sparsity(source_activations: np.ndarray, eps: float) -> float:
    """Share of source activations that are at most `eps`: the paper's l0-eps.

    Args:
        source_activations: ``(S, T)``, non-negative.
        eps: what counts as inactive; the paper's value is not known, so say which you use.

    Source: DDS paper (arXiv 2211.15524), section IV-C.

    Example:
        >>> sparsity(np.array([[0.5, 0.001], [0.0, 0.0]]), eps=1e-2)
        0.75
    """
    activations = np.asarray(source_activations)
    return float((np.abs(activations) <= eps).mean())


def frame_scores(
    source_activations: np.ndarray, roll: np.ndarray, threshold: float
) -> dict[str, float]:
    """Precision, recall and F1 of ``activations > threshold``, over all entries of the roll."""
    from sklearn.metrics import precision_recall_fscore_support

    activations, roll = _check(source_activations, roll)
    precision, recall, f1, _ = precision_recall_fscore_support(
        roll.ravel(), (activations > threshold).ravel(), average="binary", zero_division=0
    )
    return {"precision": float(precision), "recall": float(recall), "f1": float(f1)}


def best_threshold(source_activations: np.ndarray, roll: np.ndarray) -> tuple[float, float]:
    """The threshold with the highest frame F1, and that F1.

    An upper bound of what thresholding can reach: the threshold is chosen on the reference itself.
    """
    from sklearn.metrics import precision_recall_curve

    activations, roll = _check(source_activations, roll)
    precision, recall, thresholds = precision_recall_curve(roll.ravel(), activations.ravel())
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(np.argmax(f1[:-1]))
    # The curve counts entries >= its threshold, the library those > its own.
    return float(np.nextafter(thresholds[best], -np.inf)), float(f1[best])


def note_scores(
    reference_intervals: np.ndarray,
    reference_pitches: np.ndarray,
    intervals: np.ndarray,
    pitches: np.ndarray,
) -> dict[str, float]:
    """Note F1 by mir_eval: onsets within 50 ms, and with offsets within max(50 ms, 20 %).

    Reference notes of no length are left out.

    Args:
        reference_intervals: ``(n, 2)`` seconds.
        reference_pitches: ``(n,)`` MIDI numbers.
        intervals: ``(m, 2)`` seconds.
        pitches: ``(m,)`` MIDI numbers.
    """
    import librosa
    import mir_eval

    def hertz(numbers: np.ndarray) -> np.ndarray:
        return librosa.midi_to_hz(np.asarray(numbers, dtype=float))

    reference_intervals = np.asarray(reference_intervals, dtype=float).reshape(-1, 2)
    intervals = np.asarray(intervals, dtype=float).reshape(-1, 2)
    sounding = reference_intervals[:, 1] > reference_intervals[:, 0]
    reference_intervals = reference_intervals[sounding]
    # mir_eval refuses times before zero, which a negative label delay makes.
    earliest = min(0.0, reference_intervals.min(initial=0.0))
    arguments = (
        reference_intervals - earliest,
        hertz(np.asarray(reference_pitches)[sounding]),
        intervals - earliest,
        hertz(pitches),
    )
    if len(arguments[1]) == 0 or len(arguments[3]) == 0:
        return {"onset_f1": 0.0, "onset_offset_f1": 0.0}
    score = mir_eval.transcription.precision_recall_f1_overlap
    return {
        "onset_f1": float(score(*arguments, offset_ratio=None)[2]),
        "onset_offset_f1": float(score(*arguments)[2]),
    }


def evaluate(
    decomposition: Decomposition, labels: Labels, *, label_delay: float = 0.0
) -> dict[str, float]:
    """All scores of a decomposition against reference notes.

    Frames in which no reference note sounds are not scored, nor are reference notes whose pitch
    is no source of the decomposition.

    Args:
        decomposition: its sources must be MIDI numbers.
        labels: the reference notes.
        label_delay: seconds by which the sound comes after the labels (about 0.05 for the MAPS
            Disklavier).

    Returns:
        psa; l0 at eps 1e-3, 1e-2 and 1e-1; frame precision, recall and F1 at the decomposition's
        threshold, and the best F1 of any threshold; note F1 (onset; onset and offset).

    Raises:
        ValueError: the sources are not MIDI numbers, or no reference note sounds.
    """
    sources = [s for s in decomposition.sources if isinstance(s, int)]
    if len(sources) != len(decomposition.sources):
        raise ValueError("only decompositions whose sources are MIDI numbers can be evaluated")
    labels = labels.only(sources).shifted(label_delay)
    roll = labels.roll(sources, decomposition.times)
    live = roll.any(axis=0)
    if not live.any():
        raise ValueError("no reference note of these sources sounds during the recording")
    activations, roll = np.asarray(decomposition.source_activations)[:, live], roll[:, live]
    scores = {"psa": psa(activations, roll)}
    scores |= {f"l0({eps:g})": sparsity(activations, eps) for eps in SPARSITY_EPS}
    scores["threshold"] = decomposition.note_threshold()
    frames = frame_scores(activations, roll, scores["threshold"])
    scores |= {f"frame_{name}": value for name, value in frames.items()}
    scores["best_threshold"], scores["frame_f1_at_best_threshold"] = best_threshold(
        activations, roll
    )
    notes = decomposition.notes()
    found = note_scores(
        labels.intervals,
        labels.pitches,
        np.array([(note.start, note.end) for note in notes]),
        np.array([note.source for note in notes]),
    )
    return scores | {f"note_{name}": value for name, value in found.items()}
