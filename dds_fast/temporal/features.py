"""What speaks for a source around a frame, whatever source it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

N_SUBFRAMES = 4
"""The spectrum is looked at so many times per frame for its rises: they tell when a note begins."""

REACH = 2
"""A rise is the difference of spectra so many sub-frames apart."""

OFFSETS = (-1, 0, 1, 2)
"""Sub-frames of a frame, from its centre."""

NAMES = (
    *("activity", "relative activity", "necessity", "dominance", "majority"),
    *("likeness", "likeness of the residual", "rival", "company"),
    *("crowd", "residual", "share", "level", "own level", "rise of all"),
    *(f"rise at {offset:+d}/{N_SUBFRAMES} frames" for offset in OFFSETS),
)
N_FEATURES = len(NAMES)

_SMALL = 0.02
_TINY = 1e-9
_FAINT = 1e-3


def subframe_span(first: int, end: int) -> tuple[int, int]:
    """First and end of the sub-frames that the features of some frames look at.

    Example:
        >>> subframe_span(10, 12)
        (37, 47)
    """
    return N_SUBFRAMES * first + OFFSETS[0] - REACH, N_SUBFRAMES * (end - 1) + OFFSETS[-1] + 1


def subframes(X: np.ndarray) -> np.ndarray:
    """A spectrogram ``(F, T)`` between its frames, for want of the sound itself.

    Example:
        >>> subframes(np.array([[0.0, 4.0]]))
        array([[0., 0., 0., 0., 1., 2., 3., 4., 4., 4.]])
    """
    first, end = subframe_span(0, X.shape[1])
    times = np.clip(np.arange(first, end) / N_SUBFRAMES, 0, X.shape[1] - 1)
    left = np.floor(times).astype(int)
    right, share = np.minimum(left + 1, X.shape[1] - 1), (times - left).astype(X.dtype)
    return X[:, left] * (1 - share) + X[:, right] * share


def features(
    X: np.ndarray,
    fine: np.ndarray,
    magnitudes: np.ndarray,
    W: np.ndarray,
    H: np.ndarray,
    labels: np.ndarray,
    activations: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Features of the sources that a search left alive.

    With V = W_s H_s a source's part of the reconstruction W H, R the residual and c its mean
    spectrum of norm one: activity; activity relative to the frame's strongest source; how much the
    error grows without it, relative to V; the share of V in the reconstruction where V is; that of
    V's bins in which it is more than half; c X and c R relative to X; the strongest source with a
    like spectrum, and the sum of all, relative to it; sources in the frame; R relative to X; share
    of all activity; level of the frame, and that of the source in linear magnitudes; how much the
    whole spectrum rises, and that of the source.

    Args:
        X: ``(F, T)`` spectrogram.
        fine: ``(F, n)`` its sub-frames, see `subframe_span`.
        magnitudes: ``(F, T)`` linear magnitudes that X is the compressed form of.
        W: ``(F, J)`` components.
        H: ``(J, T)`` activations.
        labels: ``(J,)`` source index of each component.
        activations: ``(S, T)`` source activations.

    Returns:
        ``(L,)`` indices of the sources, and their ``(L, N_FEATURES, T)`` float32 features.

    Example:
        >>> W, H = np.eye(8)[:, :2], np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        >>> X = W @ H
        >>> rows, found = features(X, subframes(X), X, W, H, np.array([0, 2]), H[[0, 0, 1]])
        >>> rows, found.shape, NAMES[1], found[1, 1].round(2)
        (array([0, 2]), (2, 19, 3), 'relative activity', array([0., 0., 1.], dtype=float32))
    """
    rows = np.unique(labels)
    T = X.shape[1]
    if len(rows) == 0:
        return rows, np.zeros((0, N_FEATURES, T), dtype=np.float32)
    approximation = W @ H
    residual = X - approximation
    frames = approximation, residual, magnitudes
    parts = [_part(W[:, labels == s] @ H[labels == s], *frames) for s in rows]
    spectra = np.stack([spectrum for spectrum, _ in parts])
    necessity, dominance, majority, own_level = np.stack([shares for _, shares in parts], axis=1)
    a = activations[rows]
    total, strongest = a.sum(0) + 1e-3, a.max(0) + 1e-3
    level, error = np.linalg.norm(X, axis=0) + 1e-3, np.linalg.norm(residual, axis=0)
    alike = spectra @ spectra.T - np.eye(len(rows))
    rival = np.stack([(row[:, None] ** 2 * a).max(0) for row in alike])
    likeness = spectra @ X
    rise = np.maximum(fine[:, REACH:] - fine[:, :-REACH], 0)
    at = N_SUBFRAMES * np.arange(T)
    own = (spectra @ rise)[:, [at + i for i in range(len(OFFSETS))]]  # (L, offsets, T)
    every = rise.sum(0)[[at + i for i in range(len(OFFSETS))]].max(0)
    found: Sequence[np.ndarray] = (
        *(np.log(a + _SMALL), a / strongest, necessity, dominance, majority),
        *(likeness / level, spectra @ residual / level),
        *(_ratio(rival, a), _ratio(alike @ a, a)),
        *(np.log(total / strongest), error / level, a / total),
        *(np.log(level), own_level, np.log1p(every)),
        *np.moveaxis(np.log((own + _SMALL) / (likeness[:, None] + 0.1)), 1, 0),
    )
    stacked = np.stack([np.broadcast_to(one, a.shape) for one in found], axis=1)
    return rows, stacked.astype(np.float32)


def _part(
    V: np.ndarray, approximation: np.ndarray, residual: np.ndarray, magnitudes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A source's mean spectrum, and its necessity, dominance, majority and level ``(4, T)``."""
    spectrum = V.sum(1)
    energy, amount = np.square(V).sum(0) + _TINY, V.sum(0) + _TINY
    share = V / (approximation + 1e-6)
    shares = (
        np.clip(0.5 + (residual * V).sum(0) / energy, -1, 2),
        (V * share).sum(0) / amount,
        (V * (share > 0.5)).sum(0) / amount,
        0.5 * np.log(np.square(share * magnitudes).sum(0) + _FAINT),
    )
    return spectrum / (np.linalg.norm(spectrum) + _TINY), np.stack(shares)


def _ratio(others: np.ndarray, own: np.ndarray) -> np.ndarray:
    return np.log((others + _SMALL) / (own + _SMALL))
