"""Reference notes of a recording, from MIDI or text, and their piano-roll."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Labels:
    """Notes of a recording.

    Attributes:
        intervals: ``(n, 2)`` onset and offset in seconds.
        pitches: ``(n,)`` MIDI numbers.
        velocities: ``(n,)`` MIDI velocities (64 where the file gives none).
        tracks: ``(n,)`` name of each note's track, None if nothing is known.

    Example:
        >>> intervals = np.array([[0.0, 1.0], [0.5, 1.5]])
        >>> labels = Labels(intervals, pitches=np.array([60, 64]), velocities=np.full(2, 64.0))
        >>> len(labels), len(labels.only([60]))
        (2, 1)
        >>> labels.roll([60, 64], times=np.array([0.25, 0.75, 1.25])).astype(int)
        array([[1, 1, 0],
               [0, 1, 1]])
    """

    intervals: np.ndarray
    pitches: np.ndarray
    velocities: np.ndarray
    tracks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.pitches)

    def shifted(self, seconds: float) -> Labels:
        """The same notes with onsets and offsets delayed."""
        return replace(self, intervals=self.intervals + seconds)

    def select(self, keep: np.ndarray) -> Labels:
        """The notes where `keep` ``(n,)`` is true."""
        tracks = None if self.tracks is None else self.tracks[keep]
        return Labels(self.intervals[keep], self.pitches[keep], self.velocities[keep], tracks)

    def only(self, sources: Sequence[int]) -> Labels:
        """The notes whose pitch is one of the sources."""
        return self.select(np.isin(self.pitches, np.asarray(sources)))

    def roll(self, sources: Sequence[int | str], times: np.ndarray) -> np.ndarray:
        """Binary piano-roll ``(S, T)``: True where a source sounds at a frame's centre.

        Args:
            sources: MIDI number of each row; that of a name stays empty.
            times: ``(T,)`` frame centres in seconds.
        """
        roll = np.zeros((len(sources), len(times)), dtype=bool)
        rows = {source: row for row, source in enumerate(sources)}
        for (onset, offset), pitch in zip(self.intervals, self.pitches, strict=True):
            if pitch in rows:
                roll[rows[pitch], (times >= onset) & (times < offset)] = True
        return roll


PEDAL = 64
"""Controller number of the sustain pedal, and the value from which it is down."""


def load_labels(path: str | Path, *, pedal: bool = False) -> Labels:
    """Read reference notes.

    Args:
        path: a MIDI file (``.mid``, ``.midi``), or text with the columns ``onset offset pitch``
            and perhaps ``velocity`` and ``track`` (seconds, MIDI numbers, a name), separated by
            tabs, spaces or commas, with or without a header line.
        pedal: a note lasts until the sustain pedal is released or its key is struck again; needs a
            MIDI file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is neither, naming the line that could not be read; or it is text, and
            `pedal` is asked for.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "score.txt"
        ...     _ = path.write_text("0.5 1.5 64 100")
        ...     labels = load_labels(path)
        >>> labels.intervals, labels.pitches, labels.velocities
        (array([[0.5, 1.5]]), array([64]), array([100.]))
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such label file: {path}")
    if path.suffix.lower() in (".mid", ".midi"):
        rows = _read_midi(path, pedal)
    elif pedal:
        raise ValueError(f"{path} is no MIDI file: it says nothing of the pedal")
    else:
        rows = _read_text(path)
    table = np.asarray([row[:4] for row in rows], dtype=float).reshape(-1, 4)
    tracks = np.array([row[4] for row in rows]) if any(row[4] for row in rows) else None
    if np.any(table[:, 1] < table[:, 0]):
        first = int(np.argmax(table[:, 1] < table[:, 0]))
        raise ValueError(f"{path}: note {first + 1} ends before it begins")
    return Labels(table[:, :2], np.rint(table[:, 2]).astype(int), table[:, 3], tracks)


_Row = tuple[float, float, float, float, str]
"""Onset, offset, pitch, velocity, track."""


def _read_midi(path: Path, pedal: bool) -> list[_Row]:
    import pretty_midi

    try:
        midi = pretty_midi.PrettyMIDI(str(path))
    except Exception as error:  # mido raises whatever the broken bytes provoke
        raise ValueError(f"{path} is not a readable MIDI file: {error}") from error
    # pretty_midi makes an instrument of each track, channel and program.
    names = [instrument.name.strip() or "track" for instrument in midi.instruments]
    return sorted(
        (
            note.start,
            end,
            float(note.pitch),
            float(note.velocity),
            names[index] if names.count(names[index]) == 1 else f"{names[index]} {index + 1}",
        )
        for index, instrument in enumerate(midi.instruments)
        if not instrument.is_drum
        for note, end in _ends(instrument, pedal)
    )


def _ends(instrument: Any, pedal: bool) -> Iterator[tuple[Any, float]]:
    """The notes of a pretty_midi instrument, and when they end."""
    changes = sorted(
        (c.time, c.value >= PEDAL) for c in instrument.control_changes if c.number == PEDAL
    )
    times = [time for time, _ in changes]
    releases = [time for time, down in changes if not down]
    last = instrument.get_end_time()
    strikes: dict[int, list[float]] = {}
    for note in sorted(instrument.notes, key=lambda note: note.start):
        strikes.setdefault(note.pitch, []).append(note.start)
    for note in instrument.notes:
        end = note.end
        latest = bisect.bisect_right(times, end) - 1
        if pedal and latest >= 0 and changes[latest][1]:
            end = min(
                _first_from(releases, end, last),
                _first_from(strikes[note.pitch], end, last),
            )
        yield note, end


def _first_from(times: list[float], start: float, default: float) -> float:
    index = bisect.bisect_left(times, start)
    return times[index] if index < len(times) else max(start, default)


def _read_text(path: Path) -> list[_Row]:
    rows: list[_Row] = []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is neither MIDI nor text") from error
    for number, line in enumerate(lines, start=1):
        fields = line.replace(",", " ").split()
        if not fields or fields[0].startswith("#"):
            continue
        try:
            onset, offset, pitch, *rest = map(_finite, fields[:4])
        except ValueError:
            if number == 1 and not any(map(_is_number, fields)):
                continue  # a header
            raise ValueError(
                f"{path}, line {number}: expected 'onset offset pitch [velocity [track]]', got "
                f"{line!r}"
            ) from None
        track = " ".join(fields[4:])
        rows.append((onset, offset, pitch, rest[0] if rest else 64.0, track))
    return rows


def _finite(field: str) -> float:
    value = float(field)
    if not math.isfinite(value):
        raise ValueError(f"{field} is not a finite number")
    return value


def _is_number(field: str) -> bool:
    try:
        _finite(field)
    except ValueError:
        return False
    return True
