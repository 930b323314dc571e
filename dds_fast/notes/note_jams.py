"""Notes as JAMS, JSON that music information retrieval shares annotations in."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dds_fast.files import writing
from dds_fast.notes.found import Note
from dds_fast.notes.names import parts

VERSION = "0.3.4"
"""Of the schema."""


def to_jams(notes: Iterable[Note], *, duration: float, title: str = "") -> dict[str, Any]:
    """Notes as the content of a JAMS file: an annotation for each instrument, and one of drums.

    Pitches are of the namespace "note_midi", drums of "tag_open"; the velocities are in the
    sandbox, and so is the instrument's name.

    Args:
        notes: of one recording.
        duration: of the recording, in seconds.
        title: of the recording.

    Source: Humphrey et al., JAMS: A JSON Annotated Music Specification, ISMIR 2014.

    Example:
        >>> jams = to_jams([Note(0.5, 1.25, source=60, velocity=100)], duration=2.0)
        >>> jams["annotations"][0]["data"]
        [{'time': 0.5, 'duration': 0.75, 'value': 60, 'confidence': None}]
    """
    of_instrument: dict[tuple[str, str], list[tuple[Note, Any]]] = {}
    for note in notes:
        instrument, pitch = parts(note.source)
        if pitch is None:
            of_instrument.setdefault(("tag_open", ""), []).append((note, instrument))
        else:
            of_instrument.setdefault(("note_midi", instrument), []).append((note, pitch))
    return {
        "file_metadata": {
            **dict.fromkeys(("artist", "release"), ""),
            "title": title,
            "duration": round(duration, 6),
            "identifiers": {},
            "jams_version": VERSION,
        },
        "annotations": [
            _annotation(namespace, instrument, told, duration)
            for (namespace, instrument), told in (of_instrument or {("note_midi", ""): []}).items()
        ],
        "sandbox": {},
    }


def _annotation(
    namespace: str, instrument: str, told: list[tuple[Note, Any]], duration: float
) -> dict[str, Any]:
    return {
        "namespace": namespace,
        "time": 0.0,
        "duration": round(duration, 6),
        "data": [
            {
                "time": round(note.start, 6),
                "duration": round(note.end - note.start, 6),
                "value": value,
                "confidence": None,
            }
            for note, value in told
        ],
        "annotation_metadata": {
            **dict.fromkeys(("version", "corpus", "annotation_rules", "validation"), ""),
            "annotation_tools": "dds_fast",
            "data_source": "program",
            "curator": {"name": "", "email": ""},
            "annotator": {},
        },
        "sandbox": {"source": instrument, "velocities": [note.velocity for note, _ in told]},
    }


def write_jams(
    path: str | Path,
    notes: Iterable[Note],
    *,
    duration: float,
    title: str = "",
    overwrite: bool = False,
) -> None:
    """Write notes as a JAMS file, see `to_jams`.

    Raises:
        FileExistsError: the file exists and `overwrite` is false.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "notes.jams"
        ...     write_jams(path, [Note(0.5, 1.0, source=60, velocity=100)], duration=2.0)
        ...     json.loads(path.read_text())["file_metadata"]["duration"]
        2.0
    """
    text = json.dumps(to_jams(notes, duration=duration, title=title), indent=1)
    with writing(path, overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")
