"""How a search or a training went, and what a flow has learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dds_fast.plots.figure import axes, label_sources, named, subplots

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def cost(history: np.ndarray, *, ax: Axes | None = None) -> Axes:
    """The cost after each update step.

    Example:
        >>> ax = cost(np.array([3.0, 2.0, 1.5]))
        >>> ax.lines[0].get_xdata()
        array([0, 1, 2])
    """
    ax = axes(ax)
    ax.plot(np.arange(len(history)), history)
    ax.set_xlabel("update step")
    ax.set_ylabel("cost")
    return ax


def losses(history: Sequence[Mapping[str, float]], *, ax: Axes | None = None) -> Axes:
    """Training and validation loss over the epochs, in bits per dimension.

    Args:
        history: a record per epoch with "epoch", "training" and "validation".
        ax: where to draw; by default a new figure.

    Example:
        >>> epochs = [{"epoch": 1, "training": -2.0, "validation": -1.9}]
        >>> ax = losses(epochs + [{"epoch": 2, "training": -2.5, "validation": -2.3}])
        >>> [line.get_label() for line in ax.lines]
        ['training', 'validation']
    """
    ax = axes(ax)
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

    Example:
        >>> ax = likelihood_matrix(np.array([[-3.0, 1.0], [0.5, -2.0]]), sources=[60, 64])
        >>> [label.get_text() for label in ax.get_yticklabels()], ax.get_ylabel()
        (['C4', 'E4'], 'flow of')
    """
    ax = axes(ax, (6.5, 5.5))
    loss = bits - bits.min(axis=0)
    image = ax.imshow(
        loss,
        origin="lower",
        cmap="Blues_r",
        interpolation="nearest",
        vmax=float(np.nanquantile(loss, 0.9)) or 1.0,
    )
    ax.figure.colorbar(image, ax=ax, label="bits per dimension above the likeliest", extend="max")
    label_sources(ax, sources)
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

    Example:
        >>> ax = cross_likelihood(np.array([[-0.9, -5.4], [-5.4, -0.9]]), sources=["drums", "bass"])
        >>> [text.get_text() for text in ax.texts]
        ['-0.9', '-5.4', '-5.4', '-0.9']
    """
    from matplotlib.colors import SymLogNorm

    ax = axes(ax, (5.6, 4.6))
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
    names = [named(source) for source in sources]
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

    Example:
        >>> real, drawn = np.random.default_rng(0).random((2, 2, 5, 64))  # 5 of each source
        >>> ax = samples(real, drawn, sources=[60, 64], frequencies=np.arange(1, 65) * 125.0)
        >>> len(ax.figure.axes), len(ax.lines), ax.get_ylabel()
        (4, 5, 'C4')
    """
    figure, axes = subplots(
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
        row[0].set_ylabel(named(name))
    axes[0, 0].set_title("recorded")
    axes[0, 1].set_title(title)
    figure.supxlabel("frequency in kHz")
    return axes[0, 0]
