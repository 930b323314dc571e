"""Notes out of source activations, and notes out of the library: CSV and MIDI."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dds_fast.audio import SpectrogramConfig
from dds_fast.files import writing

if TYPE_CHECKING:
    import pretty_midi

NOTE_COLUMNS = ("start_time_s", "end_time_s", "pitch_midi", "velocity")


@dataclass(frozen=True)
class Note:
    """One note of a source.

    Attributes:
        start: seconds.
        end: seconds.
        source: MIDI number, or a name.
        velocity: 1 to 127, from the note's peak relative to the strongest note found.
    """

    start: float
    end: float
    source: int | str
    velocity: int


def find_notes(
    source_activations: np.ndarray,
    sources: Sequence[int | str],
    config: SpectrogramConfig,
    *,
    threshold: float,
    min_duration: float,
    max_gap: float,
) -> list[Note]:
    """Runs of frames in which a source's activation exceeds the threshold.

    A run's note begins and ends half a frame outside its first and last frame.

    Args:
        source_activations: ``(S, T)``.
        sources: S MIDI numbers or names.
        config: for the times of the frames.
        threshold: in the units of the activations.
        min_duration: shorter notes are dropped, in seconds.
        max_gap: runs of a source that are no further apart than this are one note, in seconds.

    Returns:
        Notes sorted by start time.
    """
    active = source_activations > threshold
    strongest = float(source_activations.max(initial=0.0))
    times = config.times(active.shape[1])
    half = 0.5 / config.frame_rate
    notes = []
    for row, source in enumerate(sources):
        for first, end in runs(active[row], int(max_gap * config.frame_rate)):
            start_time = max(0.0, float(times[first]) - half)
            end_time = float(times[end - 1]) + half
            if end_time - start_time < min_duration:
                continue
            peak = float(source_activations[row, first:end].max())
            velocity = int(np.clip(round(127 * peak / strongest), 1, 127))
            notes.append(Note(start_time, end_time, source, velocity))
    return sorted(notes, key=lambda note: (note.start, str(note.source)))


def runs(active: np.ndarray, max_gap: int = 0) -> list[tuple[int, int]]:
    """First frame and end (exclusive) of each run of true, runs at most `max_gap` apart joined."""
    edges = np.flatnonzero(np.diff(active, prepend=False, append=False))
    if len(edges) == 0:
        return []
    apart = edges[2::2] - edges[1:-1:2] > max_gap
    firsts = [edges[0], *edges[2::2][apart]]
    ends = [*edges[1:-1:2][apart], edges[-1]]
    return list(zip(firsts, ends, strict=True))


def write_notes(path: str | Path, notes: Iterable[Note], *, overwrite: bool = False) -> None:
    """Write notes as CSV with the columns ``start_time_s,end_time_s,pitch_midi,velocity``.

    Raises:
        FileExistsError: the file exists and `overwrite` is false.
    """
    with writing(path, overwrite) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(NOTE_COLUMNS)
        for note in notes:
            writer.writerow([f"{note.start:.4f}", f"{note.end:.4f}", note.source, note.velocity])


def to_midi(notes: Iterable[Note]) -> pretty_midi.PrettyMIDI:
    """Notes as one piano track.

    Raises:
        ValueError: a source is not a MIDI number.
    """
    import pretty_midi

    midi = pretty_midi.PrettyMIDI()
    piano = pretty_midi.Instrument(program=0, name="dds_fast")
    for note in notes:
        if not isinstance(note.source, int) or not 0 <= note.source <= 127:
            raise ValueError(f"source {note.source!r} is not a MIDI number")
        piano.notes.append(pretty_midi.Note(note.velocity, note.source, note.start, note.end))
    midi.instruments.append(piano)
    return midi


def write_midi(path: str | Path, notes: Iterable[Note], *, overwrite: bool = False) -> None:
    """Write notes as a MIDI file.

    Raises:
        FileExistsError: the file exists and `overwrite` is false.
        ValueError: a source is not a MIDI number.
    """
    midi = to_midi(notes)
    with writing(path, overwrite) as temporary:
        midi.write(str(temporary))
