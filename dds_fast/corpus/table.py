"""The table of a corpus: recordings and their notes in Parquet, written part by part.

    OUT/corpus.json                       what made it: dictionary, settings, options
    OUT/recordings/part-00000.parquet     a row for each recording, also for those that failed
    OUT/notes/part-00000.parquet          a row for each note of these recordings

A part appears whole, under its name, or not at all, its recordings after its notes: these are its
seal, and notes without it are what a killed process left. One process writes to a table.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dds_fast import locks
from dds_fast.files import probe, writing

if TYPE_CHECKING:
    import pyarrow

RECORDINGS, NOTES, FILES = "recordings", "notes", "files"
RECORD = "corpus.json"
MOST_NOTES = 2_000_000
"""Of a part; a row takes about 50 bytes of memory."""


def needs_extra() -> None:
    """Whether there is what corpora need besides.

    Raises:
        ImportError: not.
    """
    if not all(map(find_spec, ("ray", "pyarrow"))):
        raise ImportError("corpora need Ray Data and pyarrow: pip install 'dds-fast[ray]'")


def is_numbered(sources: Sequence[int | str]) -> bool:
    """Whether sources are MIDI numbers, all of them.

    Example:
        >>> is_numbered([60, 64]), is_numbered(["kick", 64])
        (True, False)
    """
    return all(isinstance(source, int) for source in sources)


def schema(sources: Sequence[int | str]) -> pyarrow.Schema:
    """Columns of what a worker hands back: a recording a row, its notes in a list.

    Args:
        sources: of the dictionary; numbers where all are MIDI numbers, else names.
    """
    import pyarrow as pa

    note = [
        ("source", pa.int16() if is_numbered(sources) else pa.string()),
        ("start", pa.float64()),
        ("end", pa.float64()),
        ("velocity", pa.int16()),
        ("confidence", pa.float32()),
    ]
    return pa.schema(
        [
            ("recording", pa.string()),
            ("seconds", pa.float64()),
            ("n_notes", pa.int32()),
            ("confidence", pa.float32()),
            ("psa", pa.float64()),
            ("stop_reason", pa.string()),
            ("gain", pa.float64()),
            ("tuning", pa.float64()),
            ("searched_s", pa.float64()),
            ("ended", pa.timestamp("ms", "UTC")),
            ("dds_fast", pa.string()),
            ("dictionary", pa.string()),
            ("folder", pa.string()),
            ("warning", pa.string()),
            ("error", pa.string()),
            (NOTES, pa.list_(pa.struct(note))),
        ]
    )


class Table:
    """A folder with a table.

    Args:
        folder: OUT.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     table = Table(Path(folder) / "out")
        ...     table.record(), table.parts(RECORDINGS)
        (None, [])
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def record(self) -> dict[str, Any] | None:
        """What made the table; None where there is none."""
        path = self.folder / RECORD
        return json.loads(path.read_text("utf-8")) if path.is_file() else None

    def parts(self, name: str) -> list[Path]:
        """The files of `RECORDINGS` or `NOTES`."""
        return sorted((self.folder / name).glob("part-*.parquet"))

    def rows(self, columns: Sequence[str]) -> list[dict[str, Any]]:
        """Some columns of all recordings."""
        from pyarrow import parquet

        paths = self.parts(RECORDINGS)
        return [row for p in paths for row in parquet.read_table(p, columns=columns).to_pylist()]

    def check(self, record: dict[str, Any]) -> None:
        """Whether what is to be added is of the kind that is there.

        Raises:
            ValueError: another dictionary or other settings made the table.
            FileExistsError: the folder holds something else.
        """
        there = self.record()
        if there is None:
            if self.folder.is_dir() and any(self.folder.glob("[!.]*")):
                raise FileExistsError(f"{self.folder} is not empty, and holds no corpus")
            return
        differs = [
            f"{name} ({json.dumps(there.get(name))}, now {json.dumps(value)})"
            for name, value in record.items()
            if there.get(name) != value
        ]
        if differs:
            raise ValueError(
                f"{self.folder} was made otherwise: {'; '.join(differs)}. Choose another folder, "
                "or pass overwrite=True (--overwrite) to begin it again"
            )

    @contextmanager
    def opened(
        self, record: dict[str, Any], *, overwrite: bool = False, part_seconds: float = 60.0
    ) -> Iterator[Writer]:
        """The table, to be written to by this process alone.

        Args:
            record: see `check`.
            overwrite: begin again if the table was made otherwise.
            part_seconds: a part is written when the last one is so old.

        Raises:
            OSError: another process writes to it, or it cannot be written.
            ValueError, FileExistsError: as of `check`.
        """
        again = overwrite and self.record() not in (None, record)
        if not again:
            self.check(record)
        probe(self.folder)
        with locks.claimed(self.folder) as own:
            if not own:
                raise FileExistsError(f"another process is writing to {self.folder}")
            for path in [*self.parts(RECORDINGS), *self.parts(NOTES)] if again else ():
                path.unlink()
            with writing(self.folder / RECORD, overwrite=True) as path:
                path.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
            sealed = {path.name for path in self.parts(RECORDINGS)}
            for path in self.parts(NOTES):
                if path.name not in sealed:
                    path.unlink()
            writer = Writer(self, part_seconds)
            try:
                yield writer
            finally:
                writer.flush()


class Writer:
    """Adds to a table."""

    def __init__(self, table: Table, part_seconds: float) -> None:
        self.table, self.part_seconds = table, part_seconds
        self.waiting: list[pyarrow.Table] = []
        self.n_notes = 0
        self.written = time.monotonic()
        names = [path.stem.partition("-")[2] for path in table.parts(RECORDINGS)]
        self.next = 1 + max(map(int, names), default=-1)

    def forget(self, failed: Collection[str]) -> None:
        """Remove the rows of recordings that failed and are to be tried again."""
        import pyarrow.compute as pc
        from pyarrow import parquet

        for path in self.table.parts(RECORDINGS) if failed else ():
            rows = parquet.read_table(path)
            kept = rows.filter(pc.invert(pc.is_in(rows["recording"], _strings(failed))))
            if len(kept) < len(rows):
                _write(path, kept)

    def add(self, rows: pyarrow.Table) -> None:
        """Rows of `schema`, which a part takes soon."""
        self.waiting.append(rows)
        self.n_notes += sum(row["n_notes"] or 0 for row in rows.select(["n_notes"]).to_pylist())
        if time.monotonic() - self.written >= self.part_seconds or self.n_notes > MOST_NOTES:
            self.flush()

    def flush(self) -> None:
        """Write a part of what waits.

        Raises:
            OSError: it could not be written; what waits goes on waiting.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        if not self.waiting:
            return
        rows = pa.concat_tables(self.waiting).sort_by("recording").combine_chunks()
        lists = rows[NOTES].combine_chunks()
        notes = pa.Table.from_struct_array(pc.list_flatten(lists))
        owners = rows["recording"].take(pc.list_parent_indices(lists))
        name = f"part-{self.next:05d}.parquet"
        _write(self.table.folder / NOTES / name, notes.add_column(0, "recording", owners))
        _write(self.table.folder / RECORDINGS / name, rows.drop_columns([NOTES]))
        self.waiting, self.n_notes = [], 0
        self.written, self.next = time.monotonic(), self.next + 1


def _strings(values: Collection[str]) -> pyarrow.Array:
    import pyarrow as pa

    return pa.array(list(values), pa.string())


def _write(path: Path, rows: pyarrow.Table) -> None:
    from pyarrow import parquet

    with writing(path, overwrite=True) as temporary:
        parquet.write_table(rows, temporary, compression="zstd")
