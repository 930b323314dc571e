"""Names of notes, folders and formats as users have them."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
from tiny import tone

from dds_fast.datasets import Note, find_notes
from dds_fast.datasets.note_files import AUDIO_SUFFIXES, UNREAD_SUFFIXES, pitch_of, write_notes
from dds_fast.notes.names import note_name


@pytest.mark.parametrize(
    ("stem", "pitch"),
    [
        ("01 C4", 60),
        ("02 C#4", 61),
        ("02_C♯4", 61),
        ("25 - A2", 45),
        ("060_C4", 60),
        ("60_C4_A1", 60),
        ("88. C8 ff", 108),
        ("C♯4", 61),
        ("C4#", 61),
        ("C4♯_mf", 61),
        ("piano C4#", 61),
        ("Cs4", 61),
        ("Db4", 61),
        ("D♭4", 61),
        ("D4♭", 61),
        ("C4b", 60),
        ("C4#2", 60),
        ("C4a", 60),
        ("guitar_acoustic_000-060-100", 60),
        ("bass_060-100", 60),
        ("keyboard_electronic_078-021-127", 21),
        ("take_100-200", None),
        ("v12 take 3", None),
    ],
)
def test_pitch_of(stem: str, pitch: int | None) -> None:
    assert pitch_of(stem) == pitch


@pytest.mark.parametrize("pitch", range(21, 109))
def test_names_of_the_library_are_read_back(pitch: int) -> None:
    name = note_name(pitch)
    for sharp in "♯#s":
        assert pitch_of(name.replace("♯", sharp)) == pitch
        assert pitch_of(f"01 {name.replace('♯', sharp)}") == pitch
    octave = name[-1]
    assert pitch_of(name.replace(f"♯{octave}", f"{octave}#")) == pitch


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_numbers_that_are_no_keys_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(*(tmp_path / f"{n}.wav" for n in ("01", "20", "21", "108", "109 x", "C0", "02 C#4")))
    with caplog.at_level(logging.WARNING, logger="dds_fast"):
        assert [note.pitch for note in find_notes(tmp_path)] == [12, 21, 61, 108]
    assert caplog.text.count("no key of a piano, 21 to 108") == 3


def test_an_index_knows_better_than_names(tmp_path: Path) -> None:
    notes = [Note(p, layer, "x", tone(1600), 16000) for p, layer in ((12, "v1"), (60, "A1"))]
    write_notes(tmp_path, notes)
    assert [note.pitch for note in find_notes(tmp_path)] == [12, 60]


class TestFormats:
    def test_all_that_can_be_read(self, tmp_path: Path) -> None:
        touch(*(tmp_path / f"{n}{suffix}" for n, suffix in enumerate(AUDIO_SUFFIXES, 30)))
        touch(tmp_path / "70.OPUS", tmp_path / "71.CAF")
        assert len(find_notes(tmp_path)) == len(AUDIO_SUFFIXES) + 2

    def test_others_are_reported(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        touch(*(tmp_path / f"{n}{suffix}" for n, suffix in enumerate(UNREAD_SUFFIXES, 30)))
        touch(tmp_path / "60.wav", tmp_path / "readme.txt", tmp_path / "61.mid")
        with caplog.at_level(logging.WARNING, logger="dds_fast"):
            assert len(find_notes(tmp_path)) == 1
        assert f"{len(UNREAD_SUFFIXES)} problems" in caplog.text

    def test_alone_they_are_the_reason(self, tmp_path: Path) -> None:
        touch(tmp_path / "60.M4A")
        with pytest.raises(ValueError, match="no isolated notes(.|\n)*60.M4A: .M4A files"):
            find_notes(tmp_path)


class TestFolders:
    def test_what_begins_with_a_dot_is_left_out(self, tmp_path: Path) -> None:
        touch(tmp_path / ".trash" / "60.wav", tmp_path / "a" / "._61.wav", tmp_path / "62.wav")
        assert [note.pitch for note in find_notes(tmp_path)] == [62]
        assert [note.pitch for note in find_notes(tmp_path / ".trash")] == [60]

    def test_links_are_followed_once(self, tmp_path: Path) -> None:
        touch(tmp_path / "disk" / "deep" / "60.wav", tmp_path / "pianos" / "own" / "62.wav")
        pianos = tmp_path / "pianos"
        (pianos / "a linked").symlink_to(tmp_path / "disk")
        (pianos / "linked too").symlink_to(tmp_path / "disk")
        (pianos / "a").symlink_to(pianos / "own")
        (tmp_path / "disk" / "loop").symlink_to(pianos)
        (pianos / "64.wav").symlink_to(tmp_path / "disk" / "deep" / "60.wav")
        found = find_notes(pianos)
        assert [note.pitch for note in found] == [60, 62, 64]
        assert found[1].path == pianos / "own" / "62.wav"

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="all may be read")
    def test_a_folder_that_cannot_be_read(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        touch(tmp_path / "60.wav", tmp_path / "closed" / "61.wav")
        (tmp_path / "closed").chmod(0)
        try:
            with caplog.at_level(logging.WARNING, logger="dds_fast"):
                assert len(find_notes(tmp_path)) == 1
        finally:
            (tmp_path / "closed").chmod(0o700)
        assert "closed: Permission denied" in caplog.text


class TestIndex:
    def test_of_something_else_is_ignored(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        touch(tmp_path / "60.wav")
        (tmp_path / "index.csv").write_text("file,licence\n60.wav,CC0\n")
        with caplog.at_level(logging.WARNING, logger="dds_fast"):
            assert len(find_notes(tmp_path)) == 1
        assert "index.csv: an index of something else" in caplog.text

    def test_in_latin_1_is_named(self, tmp_path: Path) -> None:
        touch(tmp_path / "60_v.wav")
        (tmp_path / "index.csv").write_bytes("midi,layer,source\n60,v,café\n".encode("latin-1"))
        with pytest.raises(ValueError, match="index.csv is not UTF-8"):
            find_notes(tmp_path)


def test_a_library_of_takes_in_chromatic_order(tmp_path: Path) -> None:
    """Places in the list that are keys themselves do not count either."""
    pitches = np.arange(21, 109)
    touch(*(tmp_path / f"{n:02} {note_name(p)}.wav" for n, p in enumerate(pitches.tolist(), 1)))
    assert [note.pitch for note in find_notes(tmp_path)] == pitches.tolist()
