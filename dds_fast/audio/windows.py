"""Long recordings in windows: each is searched by itself, and fades into its neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dds_fast import arrays

OVERLAP = 1.0
"""Seconds in which a window fades into the next."""


@dataclass(frozen=True, eq=False)
class Window:
    """What was found in some frames of a recording: all of them, or a window.

    Arrays are NumPy arrays or torch tensors.

    Attributes:
        components: W after clipping, ``(F, J)``, or ``(S, F, t)`` with one per source and frame;
            None if dropped.
        activations: H after clipping, ``(J, t)``, faded where windows overlap.
        labels: ``(J,)`` index of each component's source.
        log_likelihoods: ``(J,)`` or ``(S, t)``; None without a flow.
        first: the first of its t frames.
    """

    components: Any
    activations: Any
    labels: np.ndarray
    log_likelihoods: Any = None
    first: int = 0

    @property
    def frames(self) -> slice:
        """Its frames of the recording."""
        return slice(self.first, self.first + self.activations.shape[1])

    def map(self, function: Callable[[Any], Any]) -> Window:
        """With a function applied to its components and activations."""
        W = None if self.components is None else function(self.components)
        return replace(self, components=W, activations=function(self.activations))

    def during(self, first: int, end: int) -> Window:
        """What of it lies in some frames of the recording, which must be its own.

        Raises:
            ValueError: the components were dropped.
        """
        frames = slice(first - self.first, end - self.first)
        if self.components is None:
            raise ValueError("the components were dropped (keep_components=False)")
        W = self.components if self.components.ndim == 2 else self.components[..., frames]
        return replace(self, components=W, activations=self.activations[:, frames], first=first)

    def approximation(self, rows: Any = slice(None)) -> Any:
        """``(F, t)``: W H, of all entries or of some.

        Raises:
            ValueError: the components were dropped.
        """
        W = self.components
        if W is None:
            raise ValueError("the components were dropped (keep_components=False)")
        if W.ndim == 3:
            return (W[rows] * self.activations[rows, None, :]).sum(0)
        return W[:, rows] @ self.activations[rows]


def spans(n_frames: int, length: int, overlap: int) -> list[tuple[int, int]]:
    """First and end of windows of about `length` frames that overlap by `overlap`.

    One window takes a recording that is little longer.

    Example:
        >>> spans(100, length=40, overlap=4)
        [(0, 36), (32, 68), (64, 100)]
        >>> spans(55, length=40, overlap=4)
        [(0, 55)]
    """
    if n_frames <= 1.5 * length or length <= overlap:
        return [(0, n_frames)]
    n_windows = -(-(n_frames - overlap) // (length - overlap))
    edges = np.linspace(0, n_frames - overlap, n_windows + 1).astype(int)
    return [
        (int(first), int(end) + overlap) for first, end in zip(edges[:-1], edges[1:], strict=True)
    ]


def fade(n_frames: int, overlap: int, *, rises: bool, falls: bool) -> np.ndarray:
    """``(t,)`` weights of a window; those of neighbours add up to one where they overlap.

    Example:
        >>> fade(5, 2, rises=True, falls=False).round(2)
        array([0.33, 0.67, 1.  , 1.  , 1.  ])
    """
    weights = np.ones(n_frames)
    ramp = np.arange(1, overlap + 1) / (overlap + 1)
    if rises:
        weights[:overlap] *= ramp
    if falls:
        weights[n_frames - overlap :] *= ramp[::-1]
    return weights


def joined(windows: Sequence[Window], n_frames: int) -> Any:
    """``(J, T)`` activations of all entries of all windows, zero outside their own."""
    if len(windows) == 1:
        return windows[0].activations
    n_entries = [len(window.labels) for window in windows]
    H = arrays.zeros_like(windows[0].activations, sum(n_entries), n_frames)
    row = 0
    for window, n in zip(windows, n_entries, strict=True):
        H[row : row + n, window.frames] = window.activations
        row += n
    return H
