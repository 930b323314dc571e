"""Scores of source activations, notes and stems against a reference.

PSA, sparsity and the error of the reconstruction are the DDS paper's (section IV-E); frame and note
scores are those of scikit-learn and mir_eval; SDR, SIR and SAR are those of BSS Eval version 3.
Rolls and activations are ``(S, T)``, waveforms ``(n_sources, n)``.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from dds_fast import arrays, scalars
from dds_fast.notes.found import to_labels

if TYPE_CHECKING:
    from dds_fast.audio.recordings import Source
    from dds_fast.decomposition import Decomposition
    from dds_fast.notes.score import Labels

SPARSITY_EPS = (1e-3, 1e-2, 1e-1)
FILTER_TAPS = 512
"""Of BSS Eval's filters."""


def _check(source_activations: np.ndarray, roll: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    activations, roll = arrays.as_numpy(source_activations), arrays.as_numpy(roll)
    if activations.ndim != 2 or activations.shape != roll.shape:
        raise ValueError(
            f"activations {activations.shape} and roll {roll.shape} must have the same (S, T) shape"
        )
    arrays.check_entries("activations", activations)
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

    Source: DDS paper (arXiv 2211.15524), section IV-E.

    Example:
        >>> sparsity(np.array([[0.5, 0.001], [0.0, 0.0]]), eps=1e-2)
        0.75
    """
    return float((np.abs(arrays.as_numpy(source_activations)) <= eps).mean())


def frame_scores(
    source_activations: np.ndarray, roll: np.ndarray, threshold: float
) -> dict[str, float]:
    """Precision, recall and F1 of ``activations > threshold``, over all entries of the roll.

    Example:
        >>> H, roll = np.array([[0.9, 0.2], [0.0, 0.6]]), np.array([[1, 1], [0, 0]])
        >>> frame_scores(H, roll, threshold=0.5)
        {'precision': 0.5, 'recall': 0.5, 'f1': 0.5}
    """
    from sklearn.metrics import precision_recall_fscore_support

    activations, roll = _check(source_activations, roll)
    precision, recall, f1, _ = precision_recall_fscore_support(
        roll.ravel(), (activations > threshold).ravel(), average="binary", zero_division=0
    )
    return {"precision": float(precision), "recall": float(recall), "f1": float(f1)}


def best_threshold(source_activations: np.ndarray, roll: np.ndarray) -> tuple[float, float]:
    """The threshold with the highest frame F1, and that F1.

    An upper bound of what thresholding can reach: the threshold is chosen on the reference itself.

    Example:
        >>> H, roll = np.array([[0.9, 0.2], [0.0, 0.1]]), np.array([[1, 1], [0, 0]])
        >>> threshold, f1 = best_threshold(H, roll)
        >>> round(threshold, 6), f1
        (0.2, 1.0)
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

    Example:
        >>> reference = np.array([[0.0, 1.0], [1.0, 2.0]])
        >>> found = np.array([[0.01, 1.0], [1.02, 1.3]])  # the second ends too early
        >>> note_scores(reference, np.array([60, 64]), found, np.array([60, 64]))
        {'onset_f1': 1.0, 'onset_offset_f1': 0.5}
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


def reconstruction(X: np.ndarray, approximation: np.ndarray) -> dict[str, float]:
    """How far an approximation is from a spectrogram.

    Args:
        X: ``(F, T)``.
        approximation: ``(F, T)``, such as `Decomposition.reconstruction`.

    Returns:
        "reconstruction_error", the paper's: ``sum |X - X_hat|`` over the bins, mean over the
        frames; "relative_error": ``||X - X_hat|| / ||X||``, NaN for silence.

    Raises:
        ValueError: shapes differ, there are no frames, or values are not finite.

    Source: DDS paper (arXiv 2211.15524), section IV-E.

    Example:
        >>> reconstruction(np.array([[3.0, 0.0], [4.0, 0.0]]), np.array([[3.0, 1.0], [1.0, 0.0]]))
        {'reconstruction_error': 2.0, 'relative_error': 0.632...}
    """
    X, approximation = arrays.as_numpy(X), arrays.as_numpy(approximation)
    if X.ndim != 2 or X.shape != approximation.shape or X.size == 0:
        raise ValueError(
            f"the spectrogram {X.shape} and its approximation {approximation.shape} must have the "
            "same (F, T) shape, with F and T above 0"
        )
    arrays.check_entries("the spectrogram", X, axis="frame", negative=True)
    arrays.check_entries("the approximation", approximation, axis="frame", negative=True)
    residual = X.astype(np.float64) - approximation
    norm = float(np.linalg.norm(X.astype(np.float64)))
    return {
        "reconstruction_error": float(np.abs(residual).sum(axis=0).mean()),
        "relative_error": float(np.linalg.norm(residual)) / norm if norm else float("nan"),
    }


def _scored(
    decomposition: Decomposition, labels: Labels, label_delay: float
) -> tuple[Labels, np.ndarray, np.ndarray, np.ndarray]:
    """The notes to score against; which frames are scored; their activations and roll."""
    sources = decomposition.sources
    labels = labels.only(sources).shifted(scalars.real("label_delay", label_delay))
    roll = labels.roll(sources, decomposition.times)
    live = np.asarray(roll.any(axis=0))
    if not live.any():
        raise ValueError("no reference note of these sources sounds during the recording")
    activations = arrays.as_numpy(decomposition.source_activations)
    return labels, live, activations[:, live], roll[:, live]


def psa_of(decomposition: Decomposition, labels: Labels, *, label_delay: float = 0.0) -> float:
    """The `psa` of `evaluate` alone, which is quick; arguments and errors are the same.

    Example:
        >>> import dds_fast
        >>> C, E = np.eye(512)[[15, 19]]  # spectra of two sources
        >>> dictionary = dds_fast.fit({60: C[None], 64: E[None]}, kind="nmf")
        >>> X = dds_fast.Spectrogram(np.outer(C, np.ones(40)), dictionary.spectrogram)
        >>> intervals, pitches, velocities = np.array([[0.0, 1.0]]), np.array([60]), np.ones(1)
        >>> labels = dds_fast.datasets.Labels(intervals, pitches, velocities)
        >>> psa_of(dds_fast.decompose(X, dictionary), labels)
        1.0
    """
    _, _, activations, roll = _scored(decomposition, labels, label_delay)
    return psa(activations, roll)


def evaluate(
    decomposition: Decomposition,
    labels: Labels,
    *,
    label_delay: float = 0.0,
    recording: Source | None = None,
) -> dict[str, float]:
    """All scores of a decomposition against reference notes.

    Frames in which no reference note sounds are not scored, nor are reference notes that are of no
    source of the decomposition (see `dds_fast.datasets.Labels.rows`).

    Args:
        decomposition: its sources may be MIDI numbers or names.
        labels: the reference notes.
        label_delay: seconds by which the sound comes after the labels (about 0.05 for the MAPS
            Disklavier).
        recording: what was decomposed, a path or a `Spectrogram`; by default the recording that the
            decomposition holds, if it does.

    Returns:
        psa; l0 at eps 1e-3, 1e-2 and 1e-1; the upper and lower threshold of the notes found; frame
        precision, recall and F1 of these notes (a frame counts for the source of a note that covers
        it); the best threshold of single frames and its F1; note F1 (onset; onset and offset); of
        all frames the errors of `reconstruction`, where recording and components are there.

    Raises:
        ValueError: no reference note sounds; a `recording` beside dropped components, or that is
            not the one that was decomposed.

    Example:
        >>> import dds_fast
        >>> C, E = np.eye(512)[[15, 19]]  # spectra of two sources
        >>> dictionary = dds_fast.fit({60: C[None], 64: E[None]}, kind="nmf")
        >>> X = dds_fast.Spectrogram(np.outer(C, np.ones(40)), dictionary.spectrogram)
        >>> result = dds_fast.decompose(X, dictionary)
        >>> intervals, pitches, velocities = np.array([[0.0, 1.0]]), np.array([60]), np.ones(1)
        >>> labels = dds_fast.datasets.Labels(intervals, pitches, velocities)
        >>> scores = evaluate(result, labels)
        >>> scores["psa"], scores["frame_recall"]
        (1.0, 1.0)
        >>> evaluate(result, labels, recording=X)["relative_error"] < 0.05
        True
    """
    sources = decomposition.sources
    labels, live, activations, roll = _scored(decomposition, labels, label_delay)
    scores = {"psa": psa(activations, roll)}
    scores |= {f"l0({eps:g})": sparsity(activations, eps) for eps in SPARSITY_EPS}
    detection = decomposition.note_detection()
    scores |= {"upper_threshold": detection.upper, "lower_threshold": detection.lower}
    notes = to_labels(decomposition.notes())
    found_roll = notes.roll(sources, decomposition.times)[:, live]
    frames = frame_scores(found_roll, roll, threshold=0)
    scores |= {f"frame_{name}": value for name, value in frames.items()}
    scores["best_threshold"], scores["frame_f1_at_best_threshold"] = best_threshold(
        activations, roll
    )
    # Any numbers that tell sources apart do as pitches.
    found = note_scores(
        labels.intervals, labels.rows(sources), notes.intervals, notes.rows(sources)
    )
    scores |= {f"note_{name}": value for name, value in found.items()}
    X = _spectrogram(decomposition, recording)
    return scores if X is None else scores | reconstruction(X, decomposition.reconstruction())


def _spectrogram(decomposition: Decomposition, recording: Source | None) -> Any:
    """``(F, T)``: what was decomposed; None if that, or what was found in it, is not known."""
    from dds_fast import audio
    from dds_fast.audio.recordings import read

    config = decomposition.config
    if recording is not None:
        return read(recording, None, config, decomposition.tuning or None).X
    dropped = any(window.components is None for window in decomposition.windows)
    if dropped or (stft := decomposition.stft) is None:
        return None
    return audio.compress(np.abs(stft[1:]) * decomposition.gain, config)


def _check_waveforms(references: np.ndarray, estimates: np.ndarray) -> list[np.ndarray]:
    """Both as float64 ``(n_sources, n)``, if they can be scored against each other."""
    references, estimates = arrays.as_numpy(references), arrays.as_numpy(estimates)
    if references.ndim != 2 or references.shape != estimates.shape or references.size == 0:
        raise ValueError(
            f"references {references.shape} and estimates {estimates.shape} must have the same "
            "(n_sources, n) shape, with n_sources and n above 0"
        )
    checked = []
    for name, waveforms in (("references", references), ("estimates", estimates)):
        arrays.check_entries(f"the {name}", waveforms, axis="sample", negative=True)
        silent = np.flatnonzero(~waveforms.any(axis=1)).tolist()
        if silent:
            raise ValueError(f"no score is defined for silence: rows {silent} of the {name}")
        checked.append(waveforms.astype(np.float64))
    return checked


def bss_eval(references: np.ndarray, estimates: np.ndarray) -> dict[str, np.ndarray]:
    """SDR, SIR and SAR of separated sources, in dB: BSS Eval, version 3.

    Each estimate is split into the part that a time-invariant filter of 512 taps makes of its own
    reference, the further part that such filters make of all references (interference), and the
    rest (artifacts). Estimate i belongs to reference i: no permutation is searched. These are the
    numbers of ``mir_eval.separation.bss_eval_sources``; those of museval (version 4: medians over
    windows) and the scale-invariant `si_sdr` are others. Above 100 dB they are rounding.

    Memory grows with the square of ``512 n_sources``.

    Args:
        references: ``(n_sources, n)`` true waveforms.
        estimates: ``(n_sources, n)`` separated waveforms.

    Returns:
        ``{"sdr", "sir", "sar"}``, each ``(n_sources,)`` float64. With one source, "sir" is
        infinite.

    Raises:
        ValueError: shapes differ, values are not finite, or a reference or estimate is silent.

    Source: Vincent, Gribonval and Févotte, Performance Measurement in Blind Audio Source
    Separation, IEEE TASLP 2006; BSS Eval toolbox, version 3.

    Example:
        >>> references = np.random.default_rng(0).standard_normal((2, 4000))
        >>> scores = bss_eval(references, references + 0.1 * references[::-1])
        >>> [round(float(sir)) for sir in scores["sir"]]
        [20, 21]
    """
    references, estimates = _check_waveforms(references, estimates)
    S = len(references)
    size = 1 << (references.shape[1] + FILTER_TAPS - 1).bit_length()
    R, E = (np.fft.rfft(waveforms, size) for waveforms in (references, estimates))
    lags = np.arange(FILTER_TAPS)[:, None] - np.arange(FILTER_TAPS)
    # Products of the references' delayed copies with one another, and with each estimate.
    gram = np.block([[np.fft.irfft(a.conj() * b, size)[lags] for b in R] for a in R])
    products = [np.fft.irfft(R.conj() * e, size)[:, :FILTER_TAPS] for e in E]
    total = (estimates**2).sum(1)
    by_all = _explained(gram, np.stack(products).reshape(S, -1))
    own = [slice(j * FILTER_TAPS, (j + 1) * FILTER_TAPS) for j in range(S)]
    by_own = by_all
    if S > 1:
        each = zip(own, products, strict=True)
        by_own = np.concatenate(
            [_explained(gram[part, part], given[j][None]) for j, (part, given) in enumerate(each)]
        )
    interference, artifacts = by_all - by_own, total - by_all
    return {
        "sdr": _decibels(by_own, interference + artifacts),
        "sir": _decibels(by_own, interference),
        "sar": _decibels(by_all, artifacts),
    }


def _explained(gram: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Energy of each row's projection: ``p G^-1 p``."""
    try:
        filters = np.linalg.solve(gram, products.T)
    except np.linalg.LinAlgError:  # references that filters make of one another
        filters = np.linalg.lstsq(gram, products.T)[0]
    return (products * filters.T).sum(1)


def _decibels(signal: np.ndarray, noise: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return 10 * np.log10(signal / np.maximum(noise, 0))


def si_sdr(references: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """Scale-invariant SDR of separated sources, in dB.

    ``10 log10(||a s||² / ||a s - e||²)`` with ``a = <e, s> / ||s||²`` for reference s and
    estimate e; no mean is removed.

    Args:
        references: ``(n_sources, n)`` true waveforms.
        estimates: ``(n_sources, n)`` separated waveforms.

    Returns:
        ``(n_sources,)`` float64; infinite for a scaled copy, minus infinity for an estimate that
        is orthogonal to its reference.

    Raises:
        ValueError: shapes differ, values are not finite, or a reference or estimate is silent.

    Source: Le Roux, Wisdom, Erdogan and Hershey, SDR - Half-baked or Well Done?, ICASSP 2019.

    Example:
        >>> si_sdr(np.array([[2.0, 0.0]]), np.array([[3.0, 0.3]])).round(6)
        array([20.])
    """
    references, estimates = _check_waveforms(references, estimates)
    scale = (estimates * references).sum(1) / (references**2).sum(1)
    targets = scale[:, None] * references
    with np.errstate(divide="ignore"):
        return 10 * np.log10((targets**2).sum(1) / ((targets - estimates) ** 2).sum(1))
