"""The table of a corpus: whole parts, one writer, one kind of notes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from corpora import contents, described

pytest.importorskip("ray", reason="corpora need the extra ray")
pa = pytest.importorskip("pyarrow")

from dds_fast.corpus import table as tables  # noqa: E402
from dds_fast.corpus.table import NOTES, RECORDINGS, Table, schema  # noqa: E402

RECORD = {"dictionary": "abc", "settings": {"max_steps": 3}}


def rows(*names: str, error: str | None = None) -> Any:
    """A row with two notes for each name, or with an error."""
    made = [
        {
            "recording": name,
            "n_notes": None if error else 2,
            "error": error,
            "notes": []
            if error
            else [{"source": 60, "start": t, "end": t + 0.5, "velocity": 90} for t in (0.0, 1.0)],
        }
        for name in names
    ]
    return pa.Table.from_pylist(made, schema([60, 64]))


def test_notes_follow_their_recordings(tmp_path: Path) -> None:
    table = Table(tmp_path / "out")
    with table.opened(RECORD, part_seconds=0) as writer:
        writer.add(rows("b", "a"))
        writer.add(rows("c", error="broken"))
    assert [path.name for path in table.parts(RECORDINGS)] == [
        *("part-00000.parquet", "part-00001.parquet")
    ]
    recordings, notes = contents(table.folder)
    assert [row["recording"] for row in recordings] == ["a", "b", "c"]
    assert [(note["recording"], note["start"]) for note in notes] == [
        *(("a", 0.0), ("a", 1.0), ("b", 0.0), ("b", 1.0))
    ]


def test_what_waits_is_written_in_the_end_and_when_interrupted(tmp_path: Path) -> None:
    table = Table(tmp_path / "out")
    with pytest.raises(KeyboardInterrupt), table.opened(RECORD) as writer:
        writer.add(rows("a"))
        assert table.parts(RECORDINGS) == []
        raise KeyboardInterrupt
    assert len(contents(table.folder)[0]) == 1


def test_notes_without_their_recordings_are_removed(tmp_path: Path) -> None:
    """A process was killed between the two files of a part."""
    table = Table(tmp_path / "out")
    with table.opened(RECORD) as writer:
        writer.add(rows("a"))
    table.parts(RECORDINGS)[0].unlink()
    with table.opened(RECORD) as writer:
        writer.add(rows("b"))
    assert {note["recording"] for note in contents(table.folder)[1]} == {"b"}


def test_what_failed_is_forgotten_alone(tmp_path: Path) -> None:
    table = Table(tmp_path / "out")
    with table.opened(RECORD) as writer:
        writer.add(rows("a"))
        writer.add(rows("b", "c", error="broken"))
    with table.opened(RECORD) as writer:
        writer.forget({"b"})
        writer.add(rows("b"))
    recordings, notes = contents(table.folder)
    assert [(row["recording"], row["error"]) for row in recordings] == [
        *(("a", None), ("b", None), ("c", "broken"))
    ]
    assert len(notes) == 4


def test_another_dictionary_is_refused_and_replaces_if_asked(tmp_path: Path) -> None:
    table, other = Table(tmp_path / "out"), {**RECORD, "dictionary": "xyz"}
    with table.opened(RECORD) as writer:
        writer.add(rows("a"))
    with pytest.raises(ValueError, match='dictionary .*"abc", now "xyz".*--overwrite'):
        with table.opened(other):
            pass
    with table.opened(RECORD, overwrite=True):
        pass
    assert len(contents(table.folder)[0]) == 1  # it was made so: it stays
    with table.opened(other, overwrite=True) as writer:
        writer.add(rows("b"))
    assert [row["recording"] for row in contents(table.folder)[0]] == ["b"]
    assert table.record() == other


def test_one_process_writes(tmp_path: Path) -> None:
    table = Table(tmp_path / "out")
    with table.opened(RECORD), pytest.raises(FileExistsError, match="another process"):
        with Table(table.folder).opened(RECORD):
            pass


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not empty"):
        with Table(tmp_path).opened(RECORD, overwrite=overwrite):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("full", [NOTES, RECORDINGS])
def test_a_full_disk_costs_what_waited(
    tmp_path: Path, full: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Table(tmp_path / "out")
    with table.opened(RECORD) as writer:
        writer.add(rows("a"))
    write = tables._write

    def fail(path: Path, rows: Any) -> None:
        if path.parent.name == full:
            raise OSError(28, os.strerror(28), str(path))
        write(path, rows)

    with monkeypatch.context() as patch:
        patch.setattr(tables, "_write", fail)
        with pytest.raises(OSError, match="No space left on device.*part-00001.parquet"):
            with table.opened(RECORD, part_seconds=0) as writer:
                writer.add(rows("b"))
    with table.opened(RECORD) as writer:
        writer.add(rows("b"))
    assert described(table.folder) == {"a": 2, "b": 2}


def test_other_libraries_read_it(tmp_path: Path) -> None:
    table = Table(tmp_path / "out")
    for name in ("a", "b"):
        with table.opened(RECORD) as writer:
            writer.add(rows(name))
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(table.folder / NOTES)
    assert frame.groupby("recording").size().to_dict() == {"a": 2, "b": 2}
    assert pandas.read_parquet(table.folder / RECORDINGS).n_notes.sum() == 4


def test_duckdb_reads_it(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    table = Table(tmp_path / "out")
    with table.opened(RECORD) as writer:
        writer.add(rows("a", "b"))
    both = f"""
        SELECT recording, count(*) FROM '{table.folder}/notes/*.parquet'
        JOIN '{table.folder}/recordings/*.parquet' USING (recording)
        WHERE source = 60 GROUP BY recording ORDER BY recording"""
    assert duckdb.sql(both).fetchall() == [("a", 2), ("b", 2)]


def test_polars_reads_it(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    table = Table(tmp_path / "out")
    with table.opened(RECORD) as writer:
        writer.add(rows("a", "b"))
    lazy = polars.scan_parquet(table.folder / NOTES).filter(polars.col("start") > 0.5)
    assert sorted(lazy.collect()["recording"].to_list()) == ["a", "b"]
