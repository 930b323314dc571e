"""Notes as labels that Audacity imports: a line each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dds_fast.files import writing
from dds_fast.notes.found import Note
from dds_fast.notes.names import shown


def write_audacity(path: str | Path, notes: Iterable[Note], *, overwrite: bool = False) -> None:
    """Write notes as Audacity's labels: start and end in seconds, and the note's name.

    Raises:
        FileExistsError: the file exists and `overwrite` is false.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "notes.txt"
        ...     write_audacity(path, [Note(0.5, 1.0, 60, 100), Note(0.7, 0.8, "kick", 90)])
        ...     path.read_text(encoding="utf-8").splitlines()
        ['0.500000\\t1.000000\\tC4', '0.700000\\t0.800000\\tkick']
    """
    lines = [f"{note.start:.6f}\t{note.end:.6f}\t{shown(note.source)}\n" for note in notes]
    with writing(path, overwrite) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")
