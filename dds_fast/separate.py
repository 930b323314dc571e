"""Stems in one call: from a recording, and perhaps a score, to waveforms or files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dds_fast import scalars
from dds_fast.audio.recordings import Source
from dds_fast.choices import MIDDLE_C
from dds_fast.decompose import decompose
from dds_fast.decomposition import Decomposition
from dds_fast.dictionary import Dictionary
from dds_fast.methods import score_informed
from dds_fast.notes import grouping
from dds_fast.notes.found import to_labels
from dds_fast.notes.score import Labels, load_labels

if TYPE_CHECKING:
    from dds_fast.decomposition import Groups


def separate(
    source: Source,
    score: Labels | str | Path | None = None,
    *,
    by: str = "hand",
    groups: Groups | None = None,
    split: int = MIDDLE_C,
    dictionary: Dictionary | str | Path | None = None,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Separate a recording into stems that sum to it.

    With a score and no dictionary, by score-informed decomposition; otherwise by the dictionary (by
    default the packaged piano), whose activations the score, if there is one, only sorts.

    Args:
        source: as for `decompose`, but not a Spectrogram: stems need its phase.
        score: the notes, or the path of a MIDI file or note list.
        by: "hand" ("left" below `split`, "right" from there), "pitch", "track" or "note". Without a
            score, "note" sorts by the notes found, and "track" is the instrument of a named source.
        groups: notes or sources by name of the stem, in place of `by`; see
            `Decomposition.separate`.
        split: lowest MIDI number of the right hand.
        dictionary: a `Dictionary`, or the path of one.
        **options: for `decompose` (`sr`, `max_steps`, `device`, ...) or
            `methods.score_informed.decompose` (`sr`, `constraints`, `align`, ...).

    Returns:
        Waveforms ``(n,)`` by name of the stem, at the sampling rate of the decomposition's
        spectrogram (16 kHz unless its config says otherwise).

    Raises:
        FileNotFoundError: no such recording, score or dictionary.
        ValueError: bad input; the message names the problem and the place.

    Example:
        >>> t = np.arange(16000) / 16000
        >>> chord = np.sin(2 * np.pi * 220 * t) + np.sin(2 * np.pi * 660 * t)
        >>> notes = Labels(np.array([[0.0, 1.0], [0.0, 1.0]]), np.array([57, 76]), np.ones(2))
        >>> stems = separate(chord, notes, sr=16000)
        >>> list(stems), np.allclose(stems["left"] + stems["right"], chord, atol=1e-4)
        (['left', 'right'], True)
    """
    split = scalars.integer("split", split)
    if isinstance(score, str | Path):
        score = load_labels(score)
    result = decomposition(source, score, dictionary, **options)
    return result.separate(groups or groups_of(result, score, by, split=split))


def decomposition(
    source: Source,
    score: Labels | None,
    dictionary: Dictionary | str | Path | None,
    **options: Any,
) -> Decomposition:
    """What `separate` takes its stems from."""
    if score is not None and dictionary is None:
        return score_informed.decompose(source, score, **options)
    result = decompose(source, dictionary, **options)
    if not isinstance(result, Decomposition):
        raise ValueError("separate() takes one recording, not a list")
    return result


def groups_of(
    result: Decomposition, score: Labels | None, by: str, *, split: int = MIDDLE_C
) -> Groups:
    """The stems of a decomposition by hand, pitch, track or note."""
    if score is not None:
        moved = score if result.score is None else result.score
        return grouping.of_notes(moved, by, split=split)
    if by == "note":
        return grouping.of_notes(found_notes(result), by)
    return grouping.of_sources(result.sources, by, split=split)


def found_notes(result: Decomposition) -> Labels:
    """The notes of a decomposition as if they were a score."""
    return to_labels(result.notes())
