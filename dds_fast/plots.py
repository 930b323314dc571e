"""Figures. Every function takes ``ax=`` and returns the Axes that it drew on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dds_fast.files import writing
from dds_fast.notes.found import Note, runs

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
    _draw_notes(ax, notes, sources)
    if ax.collections:
        below = {"loc": "upper right", "bbox_to_anchor": (1, -0.06), "borderaxespad": 0}
        ax.legend(fontsize="small", frameon=False, ncols=2, **below)
    ax.figure.colorbar(
        image, ax=ax, label="source activation", pad=0.01, extend="max" if threshold else "neither"
    )
    _label_sources(ax, sources)
    ax.set_xlim(extent[:2])
    ax.set_ylim(_keys_in_use(sources, notes, roll) if crop else extent[2:])
    ax.set_xlabel("time in seconds")
    _set_title(ax, title)
    return ax


def _set_title(ax: Axes, title: str | None) -> None:
    """The title, literally: a file may be named like a formula."""
    if title:
        ax.set_title(title, parse_math=False)


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
    used = {note.source for note in notes}
    if roll is not None:
        used |= {source for source, sounds in zip(sources, roll.any(axis=1), strict=True) if sounds}
    pitches = [source for source in sources if isinstance(source, int)]
    if not used or len(pitches) < len(sources):
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
    _set_title(ax, title)
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


def losses(history: Sequence[Mapping[str, float]], *, ax: Axes | None = None) -> Axes:
    """Training and validation loss over the epochs, in bits per dimension.

    Args:
        history: a record per epoch with "epoch", "training" and "validation".
        ax: where to draw; by default a new figure.
    """
    import matplotlib.pyplot as plt

    if ax is None:
        ax = plt.subplots(figsize=(6, 4), layout="constrained")[1]
    epochs = [record["epoch"] for record in history]
    for name in ("training", "validation"):
        ax.plot(epochs, [record[name] for record in history], label=name)
    ax.set_xlabel("epoch")
    ax.set_ylabel("bits per dimension")
    ax.legend()
    return ax


def likelihood_matrix(
    bits: np.ndarray, sources: Sequence[int | str], *, ax: Axes | None = None
) -> Axes:
    """How likely each source's notes are under each source's flow.

    Colours show how many bits per dimension a column's notes lose against their likeliest flow.

    Args:
        bits: ``(S, S)`` bits per dimension, rows are flows and columns notes.
        sources: S MIDI numbers or names.
        ax: where to draw; by default a new figure.
    """
    import matplotlib.pyplot as plt

    if ax is None:
        ax = plt.subplots(figsize=(6.5, 5.5), layout="constrained")[1]
    loss = bits - bits.min(axis=0)
    image = ax.imshow(
        loss,
        origin="lower",
        cmap="Blues_r",
        interpolation="nearest",
        vmax=float(np.nanquantile(loss, 0.9)) or 1.0,
    )
    ax.figure.colorbar(image, ax=ax, label="bits per dimension above the likeliest", extend="max")
    _label_sources(ax, sources)
    ax.set_xticks(ax.get_yticks(), [label.get_text() for label in ax.get_yticklabels()])
    ax.tick_params(axis="x", rotation=90)
    ax.set_xlabel("notes of")
    ax.set_ylabel("flow of")
    return ax


def cross_likelihood(
    matrix: np.ndarray, sources: Sequence[int | str], *, ax: Axes | None = None
) -> Axes:
    """How likely each source is under each prior, as `methods.priors.cross_likelihood` gives it.

    Colours show how much likelier a row's own source is than the column's, in nats per dimension:
    red where the prior finds another source likelier than its own. Few sources have their values
    written into the cells.

    Args:
        matrix: ``(S, S)`` nats per dimension, rows are priors and columns sources.
        sources: S MIDI numbers or names.
        ax: where to draw; by default a new figure.
    """
    import matplotlib.pyplot as plt
    from matplotlib.colors import SymLogNorm

    if ax is None:
        ax = plt.subplots(figsize=(5.6, 4.6), layout="constrained")[1]
    lead = np.diag(matrix)[:, None] - matrix
    reach = max(1.0, float(np.abs(lead).max()))
    image = ax.imshow(
        lead,
        cmap="RdBu",
        interpolation="nearest",
        norm=SymLogNorm(0.1, vmin=-reach, vmax=reach),
    )
    ax.figure.colorbar(image, ax=ax, label="lead of the own source, nats per dimension")
    if len(sources) <= 8:
        for (row, column), value in np.ndenumerate(matrix):
            dark = abs(lead[row, column]) > 0.03 * reach
            ax.text(
                column,
                row,
                f"{value:.3g}",
                ha="center",
                va="center",
                color="white" if dark else "black",
                fontweight="bold" if row == column else None,
            )
    names = [note_name(s) if isinstance(s, int) else s for s in sources]
    ax.set_xticks(range(len(names)), names, rotation=90 if len(names) > 8 else 0)
    ax.set_yticks(range(len(names)), names)
    ax.set_xlabel("source")
    ax.set_ylabel("prior of")
    return ax


def samples(
    real: np.ndarray,
    drawn: np.ndarray,
    sources: Sequence[int | str],
    frequencies: np.ndarray,
    *,
    title: str = "drawn",
) -> Axes:
    """Frames of isolated notes beside spectra drawn from the flow; returns the first Axes.

    Args:
        real: ``(s, n, F)`` frames of s sources.
        drawn: ``(s, n, F)`` samples.
        sources: their MIDI numbers or names.
        frequencies: ``(F,)`` Hz.
        title: what `drawn` is.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        len(sources),
        2,
        figsize=(9, 1.3 * len(sources) + 0.6),
        layout="constrained",
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for row, source in zip(axes, range(len(sources)), strict=True):
        for ax, spectra in zip(row, (real[source], drawn[source]), strict=True):
            ax.plot(frequencies / 1000, spectra.T, linewidth=0.5)
        name = sources[source]
        row[0].set_ylabel(note_name(name) if isinstance(name, int) else name)
    axes[0, 0].set_title("recorded")
    axes[0, 1].set_title(title)
    figure.supxlabel("frequency in kHz")
    return axes[0, 0]


def save_figure(ax: Axes, path: str | Path, *, overwrite: bool = False) -> None:
    """Write the figure that `ax` belongs to, and close it.

    Raises:
        FileExistsError: the file exists and `overwrite` is false.
    """
    import matplotlib.pyplot as plt

    with writing(path, overwrite) as temporary:
        ax.figure.savefig(temporary, dpi=110)
    plt.close(ax.figure)
