"""Stems in one call: from a recording, and perhaps a score, to waveforms or files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dds_fast import scalars
from dds_fast.audio.recordings import Source, rate_of
from dds_fast.audio.waveforms import checked_sr
from dds_fast.choices import MIDDLE_C
from dds_fast.decompose import decompose
from dds_fast.decomposition import Decomposition
from dds_fast.dictionary import Dictionary
from dds_fast.methods import score_informed
from dds_fast.notes import grouping
from dds_fast.notes.found import to_labels
from dds_fast.notes.score import Labels, load_labels
from dds_fast.separation import Separation

if TYPE_CHECKING:
    from dds_fast.decomposition import Groups


def separate(
    source: Source,
    score: Labels | str | Path | None = None,
    *,
    by: str = "hand",
    groups: Groups | str | None = None,
    only: str | None = None,
    split: int = MIDDLE_C,
    dictionary: Dictionary | str | Path | None = None,
    target_sr: float | None = None,
    mono: bool = False,
    **options: Any,
) -> Separation:
    """Separate a recording into stems that sum to it, at its own rate and of all its channels.

    With a score and no dictionary, by score-informed decomposition of the whole band; otherwise by
    the dictionary (by default the packaged piano), whose activations the score, if there is one,
    only sorts. See docs/separation.md.

    Args:
        source: as for `decompose`, but not a Spectrogram: stems need its phase.
        score: the notes, or the path of a score that `load_labels` reads.
        by: "hand" ("left" below `split`, "right" from there), "track", "pitch", "note" or
            "source". Without a score, "note" sorts by the notes found, and
            "track" is the instrument of a named source.
        groups: what makes a stem, by its name, in place of `by`: notes (`Labels`); or sources,
            pitches and ranges of them, as "left=36-59,right=60-95", the path of a JSON file, or a
            mapping like ``{"left": "36-59", "drums": ["kick", "snare"]}``.
        only: the name of a stem; all others are one, "rest".
        split: lowest MIDI number of the right hand.
        dictionary: a `Dictionary`, or the path of one.
        target_sr: another sampling rate for the stems, in Hz.
        mono: average the channels first.
        **options: for `decompose` (`sr`, `max_steps`, `device`, ...) or
            `methods.score_informed.decompose` (`sr`, `constraints`, `align`, ...).

    Returns:
        A `Separation`: waveforms by name of the stem, ``(n,)`` or ``(channels, n)`` as the
        recording; `Separation.save` writes them.

    Raises:
        FileNotFoundError: no such recording, score, dictionary or file of groups.
        ValueError: bad input; the message names the problem and the place.

    Example:
        >>> import numpy as np
        >>> t = np.arange(44100) / 44100
        >>> left, right = np.sin(2 * np.pi * 220 * t), np.sin(2 * np.pi * 660 * t)
        >>> stereo = 0.4 * np.stack([left + 0.5 * right, 0.5 * left + right])
        >>> notes = Labels(np.array([[0.0, 1.0], [0.0, 1.0]]), np.array([57, 76]), np.ones(2))
        >>> stems = separate(stereo, notes, sr=44100)
        >>> stems
        <Separation: left, right; (2, 2, 44100) at 44100 Hz>
        >>> np.allclose(stems["left"] + stems["right"], stereo, atol=1e-4)
        True
    """
    split, mono = scalars.integer("split", split), scalars.flag("mono", mono)
    target_sr = None if target_sr is None else checked_sr("target_sr", target_sr)
    if isinstance(score, str | Path):
        score = load_labels(score)
    if isinstance(groups, str):
        groups = grouping.parse(groups)
    result = decomposition(source, score, dictionary, target_sr=target_sr, **options)
    made = groups_of(result, score, by, groups=groups, split=split)
    return result.separate(made, only=only, target_sr=target_sr, mono=mono)


def decomposition(
    source: Source,
    score: Labels | None,
    dictionary: Dictionary | str | Path | None,
    *,
    target_sr: float | None = None,
    **options: Any,
) -> Decomposition:
    """What `separate` takes its stems from."""
    if score is not None and dictionary is None:
        rate = rate_of(source, options.get("sr"))
        if "config" not in options and rate is not None:
            rate = rate if target_sr is None else min(rate, target_sr)
            options["config"] = score_informed.full_band(rate)
        return score_informed.decompose(source, score, **options)
    result = decompose(source, dictionary, **options)
    if not isinstance(result, Decomposition):
        raise ValueError("separate() takes one recording, not a list")
    return result


def groups_of(
    result: Decomposition,
    score: Labels | None,
    by: str,
    *,
    groups: Groups | grouping.Specification | None = None,
    split: int = MIDDLE_C,
) -> Groups:
    """The stems of a decomposition: groups as given, or by hand, track, pitch, note or source."""
    if groups is not None:
        if any(isinstance(group, Labels) for group in groups.values()):
            return groups
        return grouping.chosen(groups, result.sources)
    if by == "source":
        return grouping.of_sources(result.sources, by)
    if score is not None:
        moved = score if result.score is None else result.score
        return grouping.of_notes(moved, by, split=split)
    if by == "note":
        return grouping.of_notes(found_notes(result), by)
    return grouping.of_sources(result.sources, by, split=split)


def found_notes(result: Decomposition) -> Labels:
    """The notes of a decomposition as if they were a score."""
    return to_labels(result.notes())
