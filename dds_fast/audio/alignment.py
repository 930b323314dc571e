"""A score brought into time with a recording, and how well it fits."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from dds_fast.audio import SpectrogramConfig
from dds_fast.notes.score import Labels

MOST_FRAMES = 3000
"""Longer recordings are compared frame group by frame group: DTW takes the square of it."""

LEAST_FIT = 0.2
"""Below it a score does not fit: see docs/score_informed.md for what was measured."""

FEWEST_NOTES = 10
"""Fewer notes have too few pitch classes to tell."""


def _score_chroma(labels: Labels, times: np.ndarray) -> np.ndarray:
    """``(12, T)``: how loud each pitch class is by the score, notes decaying."""
    chroma = np.zeros((12, len(times)))
    for (onset, offset), pitch, velocity in zip(
        labels.intervals, labels.pitches, labels.velocities, strict=True
    ):
        sounding = (times >= onset) & (times < max(offset, onset + 0.1))
        chroma[pitch % 12, sounding] += velocity * np.exp(onset - times[sounding])
    return chroma


def _audio_chroma(stft: np.ndarray, config: SpectrogramConfig, group: int) -> np.ndarray:
    """``(12, T // group)`` of a complex ``(F + 1, T)`` STFT."""
    import librosa

    chroma = librosa.feature.chroma_stft(
        S=np.abs(stft) ** 2, sr=config.sr, n_fft=config.n_fft, norm=None, tuning=0.0
    )
    n_groups = chroma.shape[1] // group
    # A root, so that loud frames and partials do not outweigh the others.
    return np.sqrt(chroma[:, : n_groups * group].reshape(12, n_groups, group).mean(2))


def _unit(chroma: np.ndarray) -> np.ndarray:
    """Columns of unit norm; silence counts as all pitch classes alike."""
    norms = np.linalg.norm(chroma, axis=0)
    return np.where(
        norms > 1e-6 * norms.max(initial=0), chroma / np.maximum(norms, 1e-30), 12**-0.5
    )


def align(labels: Labels, stft: np.ndarray, config: SpectrogramConfig) -> Labels:
    """The notes of a score moved to where a recording plays them.

    Dynamic time warping (librosa's) of pitch classes: good to about a tenth of a second, and it
    needs the whole piece, without cuts or repeats that the score lacks.

    Args:
        labels: the score, in any tempo.
        stft: ``(F + 1, T)`` complex STFT of the recording.
        config: of the STFT.

    Source: Müller, Fundamentals of Music Processing, chapter 3.
    """
    import librosa

    group = -(-stft.shape[1] // MOST_FRAMES)
    heard = _audio_chroma(stft, config, group)
    duration = float(labels.intervals[:, 1].max())
    # As fine as the recording, but no more frames than the most.
    step = max(group / config.frame_rate, duration / MOST_FRAMES)
    score_times = np.arange(int(duration / step) + 1) * step
    expected = _score_chroma(labels, score_times)
    _, path = librosa.sequence.dtw(X=_unit(expected), Y=_unit(heard), metric="cosine")
    # A score frame lies over all recording frames that the path gives it: take their mean.
    n_partners = np.bincount(path[:, 0])
    partners = np.bincount(path[:, 0], weights=path[:, 1]) / n_partners
    warped = np.interp(labels.intervals, score_times, partners * (group / config.frame_rate))
    return replace(labels, intervals=warped)


def fit(labels: Labels, stft: np.ndarray, config: SpectrogramConfig) -> float:
    """How much more like the recording a score is than its transpositions, about 0 to 1.

    The cosine between the pitch classes of score and recording, averaged over the frames in which a
    note sounds, minus its mean over the eleven transpositions of the score.

    Args:
        labels: the score, in the recording's time.
        stft: ``(F + 1, T)`` complex STFT of the recording.
        config: of the STFT.
    """
    heard = _unit(_audio_chroma(stft, config, 1))
    expected = _score_chroma(labels, config.times(stft.shape[1]))
    sounding = expected.any(axis=0)
    if not sounding.any():
        return 0.0
    heard, expected = heard[:, sounding], _unit(expected[:, sounding])
    cosines = [float((np.roll(expected, k, axis=0) * heard).sum(0).mean()) for k in range(12)]
    return cosines[0] - float(np.mean(cosines[1:]))


def check_fit(labels: Labels, stft: np.ndarray, config: SpectrogramConfig) -> float | None:
    """The `fit` of a score, with a warning if it is poor; None for few notes."""
    if len(labels) < FEWEST_NOTES:
        return None
    found = fit(labels, stft, config)
    if found < LEAST_FIT:
        warnings.warn(
            f"the score does not fit the recording (fit {found:.2f}, at least {LEAST_FIT} is "
            "expected): is it another piece, or not in time with it (align)?",
            stacklevel=4,
        )
    return found
