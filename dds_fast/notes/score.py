"""Reference notes of a recording, from MIDI, a printed score or text, and their piano-roll."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dds_fast.notes import score_midi
from dds_fast.notes.names import NO_PITCH, parts
from dds_fast.notes.score_midi import is_midi, read_midi
from dds_fast.notes.score_sheet import is_sheet, read_sheet
from dds_fast.notes.score_text import read_text

LABEL_SUFFIXES = (*score_midi.SUFFIXES, ".txt", ".tsv", ".csv")
"""Of reference notes beside recordings."""


@dataclass(frozen=True, eq=False)
class Labels:
    """Notes of a recording.

    Attributes:
        intervals: ``(n, 2)`` onset and offset in seconds.
        pitches: ``(n,)`` MIDI numbers, `NO_PITCH` where a note has none.
        velocities: ``(n,)`` MIDI velocities (64 where the file gives none).
        tracks: ``(n,)`` name of each note's track, instrument or drum, None if nothing is known.

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

    def rows(self, sources: Sequence[int | str]) -> np.ndarray:
        """``(n,)``: which of the sources each note is of, -1 for none.

        Tracks tell instruments and drums apart: a note of 60 in the track "guitar" is of the source
        "guitar/60", a note in the track "kick" of "kick", capitals or not. A note is of a MIDI
        number whatever its track.
        """
        row = {}
        for index, (instrument, pitch) in enumerate(map(parts, sources)):
            row[instrument.casefold(), NO_PITCH if pitch is None else pitch] = index
        tracks = [""] * len(self) if self.tracks is None else self.tracks.tolist()
        found = []
        for track, pitch in zip(tracks, self.pitches.tolist(), strict=True):
            of_track = row.get((track.casefold(), pitch), row.get((track.casefold(), NO_PITCH), -1))
            found.append(of_track if of_track >= 0 else row.get(("", pitch), -1))
        return np.array(found, dtype=int)

    def only(self, sources: Sequence[int | str]) -> Labels:
        """The notes that are of one of the sources, see `rows`."""
        return self.select(self.rows(sources) >= 0)

    def roll(self, sources: Sequence[int | str], times: np.ndarray) -> np.ndarray:
        """Binary piano-roll ``(S, T)``: True where a source sounds at a frame's centre.

        Args:
            sources: the source of each row, see `rows`.
            times: ``(T,)`` frame centres in seconds.
        """
        roll = np.zeros((len(sources), len(times)), dtype=bool)
        for (onset, offset), row in zip(self.intervals, self.rows(sources), strict=True):
            if row >= 0:
                roll[row, (times >= onset) & (times < offset)] = True
        return roll


Row = tuple[float, float, float, float, str]
"""Onset, offset, pitch, velocity, track."""


def load_labels(
    path: str | Path, *, pedal: bool = False, drums: Mapping[str, int] | None = None
) -> Labels:
    """Read reference notes.

    Args:
        path: a MIDI file (``.mid``, ``.midi``, ``.kar``, ``.smf``, ``.rmi``); a printed score
            (``.musicxml``, ``.mxl``, ``.xml``, ``.mei``), which needs the extra ``scores``, is
            played in its printed tempo, and names its staves as tracks; or text with the
            columns ``onset offset pitch`` and perhaps ``velocity`` and ``track`` (seconds, MIDI
            numbers, a name), separated by tabs, semicolons, spaces or commas. A header line may
            name them in any order, with ``duration`` for the offset, ``frequency`` (Hz) for the
            pitch, or ``source`` for the track; other columns are left out. Drums need no pitch and
            no offset: ``onset source``, or lines like ``0.5 kick`` without a header.
        pedal: a note lasts until its channel's sustain pedal is released or its key is struck
            again; needs a MIDI file.

    Raises:
        FileNotFoundError: no such file.
        ImportError: a printed score, and partitura is not installed.
        ValueError: the file is none of these, or may mean something else, naming the line that
            could not be read; or it is no MIDI file, and `pedal` is asked for.

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
    content = path.read_bytes()
    if is_midi(path, content):
        rows = read_midi(path, content, pedal, drums or {})
    elif pedal:
        raise ValueError(f"{path} is no MIDI file: it says nothing of the pedal")
    elif is_sheet(path):
        rows = read_sheet(path)
    else:
        rows = read_text(path, content)
    table = np.asarray([row[:4] for row in rows], dtype=float).reshape(-1, 4)
    tracks = np.array([row[4] for row in rows]) if any(row[4] for row in rows) else None
    return Labels(table[:, :2], table[:, 2].astype(int), table[:, 3], tracks)
