"""Groups of notes or sources: what makes a stem."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dds_fast.choices import MIDDLE_C, STEMS_BY
from dds_fast.notes.names import NO_PITCH, note_name, parts, shown
from dds_fast.notes.score import Labels


def of_notes(labels: Labels, by: str, *, split: int = MIDDLE_C) -> dict[str, Labels]:
    """Notes by the name of their stem, for `Decomposition.separate`.

    Args:
        labels: the notes.
        by: "hand" ("left" below `split`, "right" from there), "pitch" (note names), "track" (tracks
            of a MIDI file, or the fifth column of a note list) or "note" (numbered by onset).
        split: lowest MIDI number of the right hand.

    Raises:
        ValueError: unknown `by`, no notes, or notes without tracks.

    Example:
        >>> intervals = np.array([[0.0, 1.0], [0.5, 1.0]])
        >>> notes = Labels(intervals, np.array([48, 72]), np.array([64.0, 64.0]))
        >>> {name: len(group) for name, group in of_notes(notes, "hand").items()}
        {'left': 1, 'right': 1}
        >>> list(of_notes(notes, "note"))
        ['001_C3', '002_C5']
    """
    _check(by)
    if len(labels) == 0:
        raise ValueError("the score holds no notes")
    if by == "note":
        order = np.argsort(labels.intervals[:, 0], kind="stable")
        digits = max(3, len(str(len(labels))))
        return {
            f"{number:0{digits}}_{_name(labels, index)}": labels.select(np.array([index]))
            for number, index in enumerate(order, start=1)
        }
    if by == "track":
        if labels.tracks is None:
            raise ValueError("the score names no tracks: it has only one, or is a plain note list")
        names = labels.tracks
    elif by == "hand":
        if NO_PITCH in labels.pitches:
            raise ValueError("stems by hand need notes that have a pitch")
        names = np.where(labels.pitches < split, "left", "right")
    else:
        labels = labels.select(np.argsort(labels.pitches, kind="stable"))
        names = np.array([_name(labels, index) for index in range(len(labels))])
    return {str(name): labels.select(names == name) for name in dict.fromkeys(names.tolist())}


def _name(labels: Labels, index: int) -> str:
    """Of a note's pitch, or of what has none."""
    pitch = int(labels.pitches[index])
    if pitch == NO_PITCH and labels.tracks is not None:
        return str(labels.tracks[index])
    return note_name(pitch)


def of_sources(
    sources: Sequence[int | str], by: str, *, split: int = MIDDLE_C
) -> dict[str, list[int | str]]:
    """Sources by the name of their stem, where there is no score.

    Args:
        sources: MIDI numbers or names.
        by: "hand" or "pitch", see `of_notes`; "track": the instrument of keys like "guitar/60".
        split: lowest MIDI number of the right hand.

    Raises:
        ValueError: another `by`, hands of sources that are no numbers, tracks of those that are.

    Example:
        >>> of_sources((48, 60, 72), "hand")
        {'left': [48], 'right': [60, 72]}
        >>> of_sources((60, "kick"), "pitch")
        {'C4': [60], 'kick': ['kick']}
        >>> of_sources(("guitar/60", "guitar/61", "kick"), "track")
        {'guitar': ['guitar/60', 'guitar/61'], 'kick': ['kick']}
    """
    _check(by)
    if by == "pitch":
        return {shown(source): [source] for source in sources}
    if by == "track" and all(isinstance(source, str) for source in sources):
        groups: dict[str, list[int | str]] = {}
        for source in sources:
            groups.setdefault(parts(source)[0], []).append(source)
        return groups
    if by != "hand":
        raise ValueError(f"stems by {by} need a score")
    pitches = [source for source in sources if isinstance(source, int)]
    if len(pitches) < len(sources):
        raise ValueError("stems by hand need sources that are MIDI numbers")
    return {
        "left": [pitch for pitch in pitches if pitch < split],
        "right": [pitch for pitch in pitches if pitch >= split],
    }


def _check(by: str) -> None:
    if by not in STEMS_BY:
        raise ValueError(f"stems are made by {', '.join(STEMS_BY)}, not {by!r}")
