"""Files appear whole or not at all, and nothing is left of those that did not."""

from __future__ import annotations

import errno
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from fresh import run as in_new_interpreter

from dds_fast.files import TEMPORARY, ignores_case, probe, probe_file, writing

KILLED = """
import os, signal, sys
from dds_fast.files import writing
with writing({path!r}) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(KeyError), writing(path) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with writing(path) as temporary:
        temporary.write_text("whole")
    assert [p.read_text() for p in tmp_path.iterdir()] == ["whole"]
    with pytest.raises(FileExistsError, match="--overwrite"), writing(path):
        pass


def test_what_killed_processes_leave_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".mine.txt").touch()
    path = tmp_path / "a.txt"
    assert in_new_interpreter(KILLED.format(path=str(path))).returncode == -9
    assert len(list(tmp_path.glob(f"{TEMPORARY}*"))) == 1
    with writing(tmp_path / "b.txt") as temporary:
        temporary.touch()
        assert list(tmp_path.glob(f"{TEMPORARY}*")) == [temporary.parent]
    assert {p.name for p in tmp_path.iterdir()} == {".mine.txt", "b.txt"}


def test_what_others_are_writing_stays(tmp_path: Path) -> None:
    with writing(tmp_path / "a.txt") as first:
        first.write_text("a")
        for name in ("b.txt", "a.txt"):
            with writing(tmp_path / name, overwrite=True) as second:
                second.write_text("b")
        assert first.exists()
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a.txt": "a", "b.txt": "b"}


@pytest.mark.parametrize("name", ["é" * 125 + ".txt", "a" * 255, "a." + "b" * 253])
def test_names_of_any_length(tmp_path: Path, name: str) -> None:
    with writing(tmp_path / name) as temporary:
        temporary.write_text("x")
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("System error."),  # libsndfile's word for it
        AssertionError(),
    ],
    ids=repr,
)
def test_a_full_disk_names_the_file(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", ["free"])(1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"No space left on device: '[^']*a\.txt'$"):
        with writing(tmp_path / "a.txt"):
            raise error
    assert list(tmp_path.iterdir()) == []


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    for error in (RuntimeError("no"), ValueError("no"), OSError("no")):
        with pytest.raises(type(error), match="^no$"), writing(tmp_path / "a.txt"):
            raise error


def test_a_file_is_probed(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.json"
    probe_file(path)
    assert list(path.parent.iterdir()) == []
    path.touch()
    probe_file(path, overwrite=True)
    with pytest.raises(FileExistsError, match=r"b\.json exists"):
        probe_file(path)
    with pytest.raises(IsADirectoryError, match="a"):
        probe_file(path.parent, overwrite=True)


def test_a_file_system_says_whether_it_ignores_case(tmp_path: Path) -> None:
    (tmp_path / "case").touch()
    assert ignores_case(tmp_path) == (tmp_path / "CASE").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["case"]


def test_a_folder_is_probed(tmp_path: Path) -> None:
    probe(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match="file"):
            probe(path)
