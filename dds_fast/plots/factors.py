"""Entries, activations and masks, as images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dds_fast.plots.figure import axes, named, set_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def templates(
    components: np.ndarray,
    frequencies: np.ndarray,
    sources: Sequence[int | str],
    *,
    max_frequency: float = 4000.0,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Columns of a dictionary, each scaled to its own maximum.

    Args:
        components: ``(F, J)``.
        frequencies: ``(F,)`` Hz.
        sources: MIDI number or name of each of the J columns.
        max_frequency: where the axis ends, in Hz.
        title: above the figure.
        ax: where to draw; by default a new figure.

    Example:
        >>> W = np.random.default_rng(0).random((512, 2))
        >>> ax = templates(W, np.arange(1, 513) * 15.625, sources=[60, 64])
        >>> [label.get_text() for label in ax.get_xticklabels()], ax.get_ylim()
        (['C4', 'E4'], (np.float64(0.0), np.float64(4000.0)))
    """
    peaks = np.maximum(components.max(axis=0), np.finfo(float).tiny)
    step = frequencies[1] - frequencies[0]
    extent = (-0.5, len(sources) - 0.5, frequencies[0] - step / 2, frequencies[-1] + step / 2)
    ax = _image(components / peaks, extent, "Blues", title, ax)
    names = [named(source) for source in sources]
    ax.set_xticks(range(len(names)), names, rotation=90, fontsize="small")
    ax.set_ylim(0, min(max_frequency, extent[3]))
    ax.set_xlabel("note")
    ax.set_ylabel("frequency in Hz")
    return ax


def activations(
    activations: np.ndarray,
    times: np.ndarray,
    sources: Sequence[int | str],
    *,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Rows of an activation matrix over time, named one by one.

    Args:
        activations: ``(J, T)``.
        times: ``(T,)`` seconds.
        sources: MIDI number or name of each of the J rows.
        title: above the figure.
        ax: where to draw; by default a new figure.

    Example:
        >>> H = np.random.default_rng(0).random((2, 50))
        >>> ax = activations(H, times=np.arange(50) * 0.032, sources=[60, "kick"])
        >>> [label.get_text() for label in ax.get_yticklabels()]
        ['C4', 'kick']
    """
    half = _half_step(times)
    extent = (times[0] - half, times[-1] + half, -0.5, len(sources) - 0.5)
    ax = _image(activations, extent, "Blues", title, ax)
    names = [named(source) for source in sources]
    ax.set_yticks(range(len(names)), names, fontsize="small")
    ax.set_xlabel("time in seconds")
    ax.set_ylabel("note")
    return ax


def mask(
    mask: np.ndarray,
    times: np.ndarray,
    frequencies: np.ndarray,
    *,
    max_frequency: float = 4000.0,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """A stem's mask: where it is dark, the recording belongs to the stem.

    Args:
        mask: ``(F, T)``, between 0 and 1.
        times: ``(T,)`` seconds.
        frequencies: ``(F,)`` Hz.
        max_frequency: where the axis ends, in Hz.
        title: above the figure.
        ax: where to draw; by default a new figure.

    Example:
        >>> left = np.random.default_rng(0).random((512, 50))
        >>> ax = mask(left, np.arange(50) * 0.032, np.arange(1, 513) * 15.625, title="left hand")
        >>> ax.get_title(), ax.get_ylabel()
        ('left hand', 'frequency in Hz')
    """
    half, step = _half_step(times), frequencies[1] - frequencies[0]
    bottom, top = frequencies[0] - step / 2, frequencies[-1] + step / 2
    extent = (times[0] - half, times[-1] + half, bottom, top)
    ax = _image(mask, extent, "Greys", title, ax, vmax=1)
    ax.set_ylim(0, min(max_frequency, top))
    ax.set_xlabel("time in seconds")
    ax.set_ylabel("frequency in Hz")
    return ax


def _half_step(times: np.ndarray) -> float:
    return (times[1] - times[0]) / 2 if len(times) > 1 else 0.5


def _image(
    values: np.ndarray,
    extent: tuple[float, float, float, float],
    colours: str,
    title: str | None,
    ax: Axes | None,
    vmax: float | None = None,
) -> Axes:
    ax = axes(ax)
    ax.imshow(
        values,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=extent,
        cmap=colours,
        vmin=0,
        vmax=vmax,
    )
    set_title(ax, title)
    return ax
