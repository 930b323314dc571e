"""Figures. Every function takes ``ax=`` and returns the Axes that it drew on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dds_fast.export import runs
from dds_fast.files import writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NAMES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")


def note_name(pitch: int) -> str:
    """Name of a MIDI number, as C4 for 60.

    Example:
        >>> note_name(60), note_name(61)
        ('C4', 'C♯4')
    """
    return f"{_NAMES[pitch % 12]}{pitch // 12 - 1}"


def piano_roll(
    source_activations: np.ndarray,
    sources: Sequence[int | str],
    times: np.ndarray,
    *,
    threshold: float | None = None,
    roll: np.ndarray | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Source activations over time, one row per source.

    Args:
        source_activations: ``(S, T)``.
        sources: S MIDI numbers or names, for the vertical axis.
        times: ``(T,)`` seconds.
        threshold: the colours are darkest at four times this activation.
        roll: ``(S, T)`` binary reference, outlined.
        title: above the figure.
        ax: where to draw; by default a new figure.
    """
    import matplotlib.pyplot as plt

    if ax is None:
        width = float(np.clip(len(times) / 60, 8, 18))
        ax = plt.subplots(figsize=(width, 5), layout="constrained")[1]
    strongest = float(np.max(source_activations, initial=0.0))
    ceiling = strongest if threshold is None else max(min(strongest, 4 * threshold), threshold)
    step = times[1] - times[0] if len(times) > 1 else 1.0
    extent = (times[0] - step / 2, times[-1] + step / 2, -0.5, len(sources) - 0.5)
    image = ax.imshow(
        source_activations,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=extent,
        cmap="Blues",
        vmin=0,
        vmax=ceiling or 1,
    )
    if roll is not None:
        _outline(ax, roll, extent[0], step)
    ax.figure.colorbar(
        image, ax=ax, label="source activation", pad=0.01, extend="max" if threshold else "neither"
    )
    _label_sources(ax, sources)
    ax.set_xlabel("time in seconds")
    if title:
        ax.set_title(title)
    return ax


def _outline(ax: Axes, roll: np.ndarray, start: float, step: float) -> None:
    """A frame around each run of a binary ``(S, T)`` roll."""
    for row, sounding in enumerate(roll):
        spans = [
            (start + first * step, (end - first) * step)
            for first, end in runs(sounding.astype(bool))
        ]
        ax.broken_barh(spans, (row - 0.5, 1), facecolors="none", edgecolors="tab:orange")


def _label_sources(ax: Axes, sources: Sequence[int | str]) -> None:
    """Names on the vertical axis: every C of a keyboard (all notes if few), or every label."""
    pitches = [s if isinstance(s, int) else None for s in sources]
    if None in pitches:
        ax.set_yticks(range(len(sources)), [str(s) for s in sources])
        ax.set_ylabel("source")
        return
    few = len(sources) <= 16
    ticks = [i for i, p in enumerate(pitches) if p is not None and (few or p % 12 in (0, 5, 9))]
    ax.set_yticks(ticks, [note_name(int(sources[i])) for i in ticks])
    for i, p in enumerate(pitches):
        if p is not None and p % 12 == 0:
            ax.axhline(i - 0.5, color="0.85", linewidth=0.6, zorder=0.5)
    ax.set_ylabel("note")


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
    """
    peaks = np.maximum(components.max(axis=0), np.finfo(float).tiny)
    step = frequencies[1] - frequencies[0]
    extent = (-0.5, len(sources) - 0.5, frequencies[0] - step / 2, frequencies[-1] + step / 2)
    ax = _image(components / peaks, extent, "Blues", title, ax)
    names = [note_name(s) if isinstance(s, int | np.integer) else s for s in sources]
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
    """
    half = _half_step(times)
    extent = (times[0] - half, times[-1] + half, -0.5, len(sources) - 0.5)
    ax = _image(activations, extent, "Blues", title, ax)
    names = [note_name(s) if isinstance(s, int | np.integer) else s for s in sources]
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
    import matplotlib.pyplot as plt

    if ax is None:
        ax = plt.subplots(figsize=(6, 4), layout="constrained")[1]
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
    if title:
        ax.set_title(title)
    return ax


def cost(history: np.ndarray, *, ax: Axes | None = None) -> Axes:
    """The cost after each update step."""
    import matplotlib.pyplot as plt

    if ax is None:
        ax = plt.subplots(figsize=(6, 4), layout="constrained")[1]
    ax.plot(np.arange(len(history)), history)
    ax.set_xlabel("update step")
    ax.set_ylabel("cost")
    return ax


def save_figure(ax: Axes, path: str | Path, *, overwrite: bool = False) -> None:
    """Write the figure that `ax` belongs to, and close it.

    Raises:
        FileExistsError: the file exists and `overwrite` is false.
    """
    import matplotlib.pyplot as plt

    with writing(path, overwrite) as temporary:
        ax.figure.savefig(temporary, dpi=110)
    plt.close(ax.figure)
