"""Notes of a score as it is printed: MusicXML, MXL and MEI, read by partitura."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from dds_fast.notes.score import Row

SUFFIXES = (".musicxml", ".mxl", ".xml", ".mei")
BPM = 120.0
"""Quarters per minute until a tempo is printed."""

SHORTEST = 0.05
"""Seconds that a grace note lasts, which is printed without a length."""

VELOCITY = 64.0


def is_sheet(path: Path) -> bool:
    """Whether a file is a printed score, by its suffix."""
    return path.suffix.lower() in SUFFIXES


def read_sheet(path: Path) -> list[Row]:
    """Rows of a file; see `dds_fast.notes.score.load_labels`.

    Repeats are played, ties are one note, and tempi hold where they are printed.

    Raises:
        ImportError: partitura is not installed.
        ValueError: the file cannot be read.
    """
    try:
        import partitura
    except ImportError as error:
        raise ImportError(
            f"{path}: reading MusicXML, MXL and MEI needs partitura: pip install 'dds-fast[scores]'"
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what is printed, but not played
            score = partitura.load_score(str(path), quiet=True)
            parts = [partitura.score.unfold_part_maximal(part) for part in score.parts]
            seconds = _seconds(parts)
            rows = [row for name, part in _named(parts) for row in _rows(name, part, seconds)]
    except Exception as error:  # XML readers and partitura raise whatever the file provokes
        raise ValueError(f"{path} is not a readable score: {error!r}") from error
    # An upbeat begins before 0.
    early = min([0.0, *(row[0] for row in rows)])
    return sorted((row[0] - early, row[1] - early, *row[2:]) for row in rows)


def _named(parts: list[Any]) -> Iterator[tuple[str, Any]]:
    """Parts with names of their own."""
    names = [(part.part_name or "").strip() or "part" for part in parts]
    for index, (name, part) in enumerate(zip(names, parts, strict=True), start=1):
        yield (name if names.count(name) == 1 else f"{name} {index}"), part


def _seconds(parts: list[Any]) -> Any:
    """A function from quarters to seconds, by the tempi of all parts."""
    from partitura.score import Tempo
    from partitura.utils.music import to_quarter_tempo

    changes = {0.0: BPM}
    for part in parts:
        for tempo in part.iter_all(Tempo):
            place = float(part.quarter_map(tempo.start.t))
            changes[place] = float(to_quarter_tempo(tempo.unit or "q", tempo.bpm))
    places = np.array(sorted(changes))
    rates = 60 / np.array([changes[place] for place in places.tolist()])
    begins = np.concatenate([[0.0], np.cumsum(np.diff(places) * rates[:-1])])
    zero = float(np.interp(0.0, places, begins))

    def seconds(quarters: np.ndarray) -> np.ndarray:
        index = np.clip(np.searchsorted(places, quarters, side="right") - 1, 0, None)
        return begins[index] + (quarters - places[index]) * rates[index] - zero

    return seconds


def _rows(name: str, part: Any, seconds: Any) -> list[Row]:
    """The notes of a part; those of several staves are tracks of their own."""
    notes = part.note_array(include_staff=True)
    onsets = seconds(notes["onset_quarter"].astype(float))
    ends = seconds((notes["onset_quarter"] + notes["duration_quarter"]).astype(float))
    several = len(np.unique(notes["staff"])) > 1
    return [
        (
            float(onset),
            float(max(end, onset + SHORTEST)),
            float(pitch),
            VELOCITY,
            f"{name}, staff {staff}" if several else name,
        )
        for onset, end, pitch, staff in zip(
            onsets, ends, notes["pitch"], notes["staff"], strict=True
        )
    ]
