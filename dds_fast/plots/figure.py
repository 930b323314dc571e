"""What figures share: where they are drawn, names of sources on an axis, files."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dds_fast.files import writing
from dds_fast.notes.names import parts, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

logger = logging.getLogger("dds_fast")

_OFF_SCREEN = ContextVar("off_screen", default=False)


@contextmanager
def off_screen() -> Iterator[None]:
    """Figures drawn in the block are for files: pyplot and its backend know nothing of them."""
    token = _OFF_SCREEN.set(True)
    try:
        yield
    finally:
        _OFF_SCREEN.reset(token)


@contextmanager
def beside_results(path: Path) -> Iterator[Path]:
    """A picture that is drawn `off_screen` in the block and written to `path`, if it can be.

    Whatever goes wrong is a warning: the results, of which it shows a part, are worth more.
    """
    try:
        with off_screen():
            yield path
    except FileExistsError:
        raise
    except Exception as error:
        with suppress(OSError):
            path.unlink()  # of earlier results
        logger.warning("%s is missing: %s", path, error)


def subplots(*shape: int, **options: Any) -> Any:
    """A figure and its Axes, as of pyplot, which shows them in notebooks."""
    if not _OFF_SCREEN.get():
        import matplotlib.pyplot as plt

        return plt.subplots(*shape, **options)
    from matplotlib.figure import Figure

    figure = Figure(**{name: options.pop(name) for name in ("figsize", "layout")})
    return figure, figure.subplots(*shape, **options)


def axes(ax: Axes | None, figsize: tuple[float, float] = (6, 4)) -> Axes:
    """Where to draw: as asked, or in a new figure."""
    if ax is not None:
        return ax
    return subplots(figsize=figsize, layout="constrained")[1]


def set_title(ax: Axes, title: str | None) -> None:
    """The title, literally: a file may be named like a formula, or in no encoding."""
    if title:
        ax.set_title(title.encode(errors="replace").decode(), parse_math=False)


def named(source: int | str) -> str:
    """A source as figures name it: the note of a MIDI number, or its own name, no formula."""
    return shown(source).replace("$", r"\$")


def label_sources(ax: Axes, sources: Sequence[int | str]) -> None:
    """Names on the vertical axis: every C of a keyboard (all notes if few), and what has no pitch.

    Lines part octaves and instruments.
    """
    told = [parts(source) for source in sources]
    n_pitched = sum(pitch is not None for _, pitch in told)
    labelled = range(12) if n_pitched <= 16 else (0, 5, 9) if n_pitched <= 88 else (0,)
    ticks = [i for i, (_, p) in enumerate(told) if p is None or p % 12 in labelled]
    ax.set_yticks(ticks, [named(sources[i]) for i in ticks])
    for i, (instrument, pitch) in enumerate(told):
        other = i > 0 and pitch is not None and instrument != told[i - 1][0]
        if other or (pitch is not None and pitch % 12 == 0):
            ax.axhline(i - 0.5, color="0.4" if other else "0.85", linewidth=0.6, zorder=0.5)
    ax.set_ylabel("note" if all(isinstance(s, int) for s in sources) else "source")


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
    figure = ax.figure.figure
    with writing(path, overwrite) as temporary:
        figure.savefig(temporary, dpi=110)
    if hasattr(figure, "number"):  # pyplot's
        import matplotlib.pyplot as plt

        plt.close(figure)
