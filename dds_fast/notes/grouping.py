"""Groups of notes or sources: what makes a stem."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from dds_fast.choices import MIDDLE_C, STEMS_BY
from dds_fast.notes.names import NO_PITCH, note_name, parts, shown
from dds_fast.notes.score import Labels


def of_notes(labels: Labels, by: str, *, split: int = MIDDLE_C) -> dict[str, Labels]:
    """Notes by the name of their stem, for `Decomposition.separate`.

    Args:
        labels: the notes.
        by: "hand" ("left" below `split`, "right" from there), "pitch" (note names), "track" (tracks
            of a score, or the fifth column of a note list) or "note" (numbered by onset).
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
        by: "source" or "pitch" (each by its name); "hand", see `of_notes`; "track": the instrument
            of keys like "guitar/60".
        split: lowest MIDI number of the right hand.

    Raises:
        ValueError: another `by`, hands of sources that are no numbers, tracks of those that are.

    Example:
        >>> of_sources((48, 60, 72), "hand")
        {'left': [48], 'right': [60, 72]}
        >>> of_sources((60, "kick"), "source")
        {'C4': [60], 'kick': ['kick']}
        >>> of_sources(("guitar/60", "guitar/61", "kick"), "track")
        {'guitar': ['guitar/60', 'guitar/61'], 'kick': ['kick']}
    """
    _check(by)
    if by in ("pitch", "source"):
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
    hands: dict[str, list[int | str]] = {
        "left": [pitch for pitch in pitches if pitch < split],
        "right": [pitch for pitch in pitches if pitch >= split],
    }
    return {hand: members for hand, members in hands.items() if members}


Specification = Mapping[str, Any]
"""Of each group: pitches, ranges of them ("36-59", "C2-B3"), names of sources, or a list."""


def parse(text: str) -> Specification:
    """Groups as the command line has them: "left=36-59,right=60-95", or the path of a JSON file.

    Commas part groups, and members of a group too; a JSON file holds an object of lists, and is for
    names that hold a comma or an equals sign.

    Raises:
        FileNotFoundError: no such file.
        ValueError: neither.

    Example:
        >>> parse("drums=kick,snare,left=36-47,C3-B3")
        {'drums': ['kick', 'snare'], 'left': ['36-47', 'C3-B3']}
    """
    if text.lower().endswith(".json"):
        try:
            # A name twice in an object would win over its first one in silence.
            groups = json.loads(Path(text).read_text(encoding="utf-8"), object_pairs_hook=_unique)
        except (UnicodeDecodeError, ValueError) as error:
            raise ValueError(f"{text} holds no groups: {error}") from None
        if not isinstance(groups, dict):
            raise ValueError(f"{text} holds no groups: an object of lists is expected")
        return groups
    pairs: list[tuple[str, list[str]]] = []
    for piece in text.split(","):
        name, equals, member = (part.strip() for part in piece.rpartition("="))
        if equals:
            if not name:
                raise ValueError(f"a group needs a name before its equals sign: {text!r}")
            pairs.append((name, []))
        elif not pairs:
            raise ValueError(
                f"groups are written as left=36-59,right=60-95, or are a .json file, not {text!r}"
            )
        if member:
            pairs[-1][1].append(member)
    return _unique(pairs)


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    groups: dict[str, Any] = {}
    for name, members in pairs:
        if name in groups:
            raise ValueError(f"the group {name!r} is there twice")
        groups[name] = members
    return groups


def chosen(groups: Specification, sources: Sequence[int | str]) -> dict[str, list[int | str]]:
    """The sources of each group, for `Decomposition.separate`.

    Pitches and ranges take the sources that there are; a name must be that of a source.

    Raises:
        ValueError: a group that names no source, or what is neither a pitch, a range nor a source.

    Example:
        >>> chosen({"left": "36-59", "high": [60, "C6-C7"]}, (48, 52, 60, 84))
        {'left': [48, 52], 'high': [60, 84]}
    """
    return {name: _members(name, given, sources) for name, given in groups.items()}


def _members(name: str, given: Any, sources: Sequence[int | str]) -> list[int | str]:
    if isinstance(given, str | int):
        given = [given]
    if not isinstance(given, Iterable):
        raise ValueError(f"group {name!r} must be pitches, ranges or sources, not {given!r}")
    members: list[int | str] = []
    for member in given:
        if (span := _span(member, sources)) is None:
            known = ", ".join(map(str, sources))
            raise ValueError(f"group {name!r}: {member!r} is no source; there are {known}")
        members += [s for s in sources if s not in members and (s == member or s in span)]
    if not members:
        known = ", ".join(map(str, sources))
        raise ValueError(f"the group {name!r} names no source of this recording: {known}")
    return members


def _span(member: Any, sources: Sequence[int | str]) -> range | None:
    """The pitches that a member names; None if it names neither pitches nor a source."""
    if isinstance(member, str):
        if member in sources:
            return range(0)
        if not (match := _RANGE.fullmatch(member)):
            return None
        first, last = _pitch(match["first"]), _pitch(match["last"] or match["first"])
        return range(first, last + 1) if first <= last else None
    if isinstance(member, Integral) and not isinstance(member, bool):
        return range(int(member), int(member) + 1)
    return None


_PITCH = r"\d+|[A-G][#♯b♭]?-?\d"
_RANGE = re.compile(rf"\s*(?P<first>{_PITCH})\s*(?:[-–]\s*(?P<last>{_PITCH}))?\s*")


def _pitch(text: str) -> int:
    """The MIDI number that is written as one, or as the name of a key."""
    if text.isdigit():
        return int(text)
    accidental = {"#": 1, "♯": 1, "b": -1, "♭": -1}.get(text[1], 0)
    octave = int(text[2 if accidental else 1 :])
    return _STEPS[text[0]] + accidental + 12 * (octave + 1)


_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def check_only(name: str, names: Iterable[Any]) -> None:
    """Refuse to keep a stem that there is not, with a ValueError.

    Example:
        >>> check_only("middle", ["left", "right"])
        Traceback (most recent call last):
        ValueError: there is no stem 'middle' to keep, but left, right
    """
    if name not in (known := list(names)):
        raise ValueError(f"there is no stem {name!r} to keep, but {', '.join(map(str, known))}")


def _check(by: str) -> None:
    if by not in STEMS_BY:
        raise ValueError(f"stems are made by {', '.join(STEMS_BY)}, not {by!r}")
