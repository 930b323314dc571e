"""Hits of drums: what rises steeply in an activation, whether or not it has died away before."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

BEFORE = 0.04
"""Seconds before a hit, whose mean activation it rises above."""

RISE = 0.02
"""Seconds from a hit on, whose mean activation has risen."""


def hits(activation: np.ndarray, frame_rate: float, least: float, apart: float) -> list[int]:
    """Frames of the hits in one source's activation.

    Args:
        activation: ``(T,)``.
        frame_rate: frames per second.
        least: by how much the activation rises in a hit.
        apart: least time between two hits, in seconds.

    Example:
        >>> hits(np.array([0, 0, 9, 5, 3, 8, 5, 2, 1, 0.0]), 50.0, least=2.0, apart=0.05)
        [2, 5]
    """
    before, after = (max(1, round(seconds * frame_rate)) for seconds in (BEFORE, RISE))
    held = np.pad(activation, (0, after - 1), mode="edge")
    sums = np.cumsum(np.concatenate([np.zeros(before + 1), held]))
    means_before = (sums[before:-after] - sums[: -before - after]) / before
    means_after = (sums[before + after :] - sums[before:-after]) / after
    rise = means_after - means_before
    found: list[int] = []
    for frame in np.flatnonzero(rise > least):
        around = rise[max(0, frame - before) : frame + before + 1]
        late_enough = not found or frame - found[-1] > apart * frame_rate
        if rise[frame] == around.max() and late_enough:
            found.append(int(frame))
    return found


def spans(
    activation: np.ndarray, frame_rate: float, least: float, lower: float, apart: float
) -> list[tuple[int, int]]:
    """First frame and end (exclusive) of each hit: it lasts while the activation is above `lower`.

    The next hit of the source ends it.

    Example:
        >>> a = np.array([0, 0, 9, 5, 3, 8, 5, 2, 1, 0.0])
        >>> spans(a, 50.0, least=2.0, lower=1.5, apart=0.05)
        [(2, 5), (5, 8)]
    """
    firsts = hits(activation, frame_rate, least, apart)
    found = []
    for first, following in pairwise([*firsts, len(activation)]):
        faint = np.flatnonzero(activation[first:following] <= lower)
        found.append((first, first + int(faint[0]) if len(faint) else following))
    return found
