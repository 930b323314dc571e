"""What tables of corpora hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]


def contents(folder: Path) -> tuple[Rows, Rows]:
    """The recordings and the notes of a corpus in order, as rows; times of searches left out."""
    from pyarrow import parquet

    recordings, notes = (
        parquet.read_table(folder / name).to_pylist() for name in ("recordings", "notes")
    )
    for row in recordings:
        del row["searched_s"], row["ended"]
    return (
        sorted(recordings, key=lambda row: row["recording"]),
        sorted(notes, key=lambda row: (row["recording"], row["start"], row["source"])),
    )


def described(folder: Path) -> dict[str, int]:
    """How many notes each recording has."""
    recordings, notes = contents(folder)
    of = [note["recording"] for note in notes]
    return {row["recording"]: of.count(row["recording"]) for row in recordings}
