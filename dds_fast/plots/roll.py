"""Piano-rolls: source activations over time, and the notes in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dds_fast.notes.found import Note, runs
from dds_fast.plots.figure import axes, label_sources, set_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def piano_roll(
    source_activations: np.ndarray,
    sources: Sequence[int | str],
    times: np.ndarray,
    *,
    threshold: float | None = None,
    notes: Sequence[Note] = (),
    roll: np.ndarray | None = None,
    crop: bool = True,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Source activations over time, one row per source, and the notes found in them.

    Args:
        source_activations: ``(S, T)``.
        sources: S MIDI numbers or names, for the vertical axis.
        times: ``(T,)`` seconds.
        threshold: the colours are darkest at four times this activation.
        notes: drawn as bars.
        roll: ``(S, T)`` binary reference, outlined.
        crop: show the keys that `notes` and `roll` use and an octave on either side, and all where
            they use none; sources that are not MIDI numbers are all shown.
        title: above the figure.
        ax: where to draw; by default a new figure.

    Example:
        >>> H = np.array([[0.0, 0.9, 0.8, 0.0], [0.0, 0.0, 0.0, 0.0]])
        >>> notes = [Note(start=0.05, end=0.25, source=60, velocity=100)]
        >>> ax = piano_roll(H, sources=[60, 64], times=np.arange(4) * 0.1, notes=notes)
        >>> [label.get_text() for label in ax.get_yticklabels()], len(ax.collections)
        (['C4', 'E4'], 1)
    """
    ax = axes(ax, (float(np.clip(len(times) / 60, 8, 18)), 5))
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
    _draw_notes(ax, notes, sources)
    if ax.collections:
        ax.legend(
            loc="upper right", bbox_to_anchor=(1, -0.06), borderaxespad=0,
            fontsize="small", frameon=False, ncols=2,
        )  # fmt: skip
    ax.figure.colorbar(
        image, ax=ax, label="source activation", pad=0.01, extend="max" if threshold else "neither"
    )
    label_sources(ax, sources)
    ax.set_xlim(extent[:2])
    ax.set_ylim(_keys_in_use(sources, notes, roll) if crop else extent[2:])
    ax.set_xlabel("time in seconds")
    set_title(ax, title)
    return ax


def _bars(
    ax: Axes,
    spans: Iterable[tuple[int, list[tuple[float, float]]]],
    height: float,
    label: str,
    **style: Any,
) -> None:
    """Bars of a height in the rows of sources; a span is its start and length in seconds."""
    for row, of_row in spans:
        if of_row:
            ax.broken_barh(of_row, (row - height / 2, height), label=label, **style)
            label = "_again"  # the legend names them once


def _draw_notes(ax: Axes, notes: Sequence[Note], sources: Sequence[int | str]) -> None:
    spans = (
        (row, [(note.start, note.end - note.start) for note in notes if note.source == source])
        for row, source in enumerate(sources)
    )
    style = {"facecolors": "tab:red", "edgecolors": "white", "linewidth": 0.5}
    _bars(ax, spans, 0.4, "notes found", **style)


def _keys_in_use(
    sources: Sequence[int | str], notes: Sequence[Note], roll: np.ndarray | None
) -> tuple[float, float]:
    """Lower and upper end of the vertical axis, around what `notes` and `roll` use."""
    everything = -0.5, len(sources) - 0.5
    pitches = [source for source in sources if isinstance(source, int)]
    if len(pitches) < len(sources):
        return everything
    used = {note.source for note in notes if isinstance(note.source, int)}
    if roll is not None:
        used |= {pitch for pitch, row in zip(pitches, roll, strict=True) if row.any()}
    if not used:
        return everything
    low, high = min(used) - 12, max(used) + 12
    rows = [row for row, pitch in enumerate(pitches) if low <= pitch <= high]
    return rows[0] - 0.5, rows[-1] + 0.5


def _outline(ax: Axes, roll: np.ndarray, start: float, step: float) -> None:
    """A frame around each run of a binary ``(S, T)`` roll."""
    spans = (
        (row, [(start + a * step, (b - a) * step) for a, b in runs(sounding.astype(bool))])
        for row, sounding in enumerate(roll)
    )
    _bars(ax, spans, 1, "reference", facecolors="none", edgecolors="tab:orange")
