"""What figures share: where they are drawn, names of sources on an axis, files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dds_fast.files import writing
from dds_fast.notes.names import note_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def axes(ax: Axes | None, figsize: tuple[float, float] = (6, 4)) -> Axes:
    """Where to draw: as asked, or in a new figure."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=figsize, layout="constrained")[1]


def set_title(ax: Axes, title: str | None) -> None:
    """The title, literally: a file may be named like a formula."""
    if title:
        ax.set_title(title, parse_math=False)


def named(source: int | str) -> str:
    """A source as figures name it: the note of a MIDI number, or its own name."""
    return note_name(int(source)) if isinstance(source, int | np.integer) else source


def label_sources(ax: Axes, sources: Sequence[int | str]) -> None:
    """Names on the vertical axis: every C of a keyboard (all notes if few), or every label."""
    pitches = [s if isinstance(s, int) else None for s in sources]
    if None in pitches:
        ax.set_yticks(range(len(sources)), [str(s) for s in sources])
        ax.set_ylabel("source")
        return
    few = len(sources) <= 16
    ticks = [i for i, p in enumerate(pitches) if p is not None and (few or p % 12 in (0, 5, 9))]
    ax.set_yticks(ticks, [named(sources[i]) for i in ticks])
    for i, p in enumerate(pitches):
        if p is not None and p % 12 == 0:
            ax.axhline(i - 0.5, color="0.85", linewidth=0.6, zorder=0.5)
    ax.set_ylabel("note")


def save_figure(ax: Axes, path: str | Path, *, overwrite: bool = False) -> None:
    """Write the figure that `ax` belongs to, and close it.

    Raises:
        FileExistsError: the file exists and `overwrite` is false.

    Example:
        >>> import tempfile
        >>> from dds_fast import plots
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_figure(plots.cost([3.0, 2.0, 1.5]), f"{folder}/cost.png")
        ...     [path.name for path in Path(folder).iterdir()]
        ['cost.png']
    """
    import matplotlib.pyplot as plt

    with writing(path, overwrite) as temporary:
        ax.figure.figure.savefig(temporary, dpi=110)
    plt.close(ax.figure.figure)
