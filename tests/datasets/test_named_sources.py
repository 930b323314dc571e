"""What names the sources of files, and what sounds like a drum."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny import CONFIG, tone

from dds_fast.datasets import Recording, find_notes, load_notes
from dds_fast.datasets.note_files import name_of
from dds_fast.datasets.percussion import are_drums
from dds_fast.notes.names import in_order, parts, shown

SUFFIXES = "wav", "flac", "ogg", "aiff", "mp3"


def write(path: Path, waveform: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(8000) if waveform is None else waveform, 16000)
    return path


def sources(folder: Path, told_by: str | None) -> list[int | str]:
    return in_order(recording.source for recording in find_notes(folder, sources=told_by))


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("kick", "kick"),
        ("kick_01", "kick"),
        ("kick-2", "kick"),
        ("Kick (3)", "Kick"),
        ("01 - kick", "kick"),
        ("kick take 2", "kick"),
        ("kick_v100_rr3", "kick"),
        ("kick_vel100", "kick"),
        ("kick_ff", "kick"),
        ("kick.mf.4", "kick"),
        ("hat closed 2", "hat closed"),
        ("tom1", "tom1"),
        ("808", None),
        ("808 kick", "kick"),
        ("kick808_3", "kick808"),
        ("guitar_C4", "guitar"),
        ("guitar_C#4_v2", "guitar"),
        ("C4", None),
        ("v1", None),
        ("_ 12", None),
        ("tro\u0308te_1", "tr\u00f6te"),
    ],
)
def test_names(stem: str, name: str | None) -> None:
    assert name_of(stem) == name


class TestToldBy:
    def test_takes_of_a_name_are_one_source(self, tmp_path: Path) -> None:
        for number, suffix in enumerate(SUFFIXES):
            write(tmp_path / f"kick_{number}.{suffix}")
            write(tmp_path / f"snare_{number}.{suffix}")
        notes = load_notes(tmp_path, CONFIG, sources="name")
        assert notes.sources == ("kick", "snare")
        assert len(np.unique(notes.origins)) == 2 * len(SUFFIXES)

    def test_folders(self, tmp_path: Path) -> None:
        for name in ("kick/1.wav", "snare/a.wav", "deep/kick/2.wav"):
            write(tmp_path / name)
        assert sources(tmp_path, "folder") == ["kick", "snare"]

    def test_the_same_keys_of_two_instruments(self, tmp_path: Path) -> None:
        for name in ("piano/60.wav", "piano/C5.wav", "guitar/60_a.wav", "guitar/60_b.wav"):
            write(tmp_path / name)
        expected = ["guitar/60", "piano/60", "piano/72"]
        assert sources(tmp_path, "folder/key") == expected
        assert sources(tmp_path, "key") == [60, 72]
        assert [shown(source) for source in expected] == ["guitar C4", "piano C4", "piano C5"]

    @pytest.mark.parametrize(
        ("names", "expected"),
        [
            (("60", "C5", "noise"), [60, 72]),
            (("kick_01", "kick_02", "snare"), ["kick", "snare"]),
            (("kick_90", "snare_100"), ["kick", "snare"]),
        ],
    )
    def test_by_default(
        self, tmp_path: Path, names: tuple[str, ...], expected: list[int | str]
    ) -> None:
        for name in names:
            write(tmp_path / f"{name}.wav")
        assert sources(tmp_path, None) == expected

    def test_names_that_differ_by_case(self, tmp_path: Path) -> None:
        write(tmp_path / "a" / "Kick_1.wav")
        write(tmp_path / "b" / "kick_2.wav")
        with pytest.raises(ValueError, match="'Kick' and 'kick' differ by case alone"):
            find_notes(tmp_path, sources="name")

    def test_unknown(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="sources must be one of .*'file'"):
            find_notes(tmp_path, sources="file")

    def test_nothing_has_a_name(self, tmp_path: Path) -> None:
        write(tmp_path / "01.wav")
        with pytest.raises(ValueError, match=r"must hold a name(.|\n)*01\.wav"):
            find_notes(tmp_path, sources="name")


@pytest.mark.parametrize("source", [60, "guitar/60", "kick", "a/b/7", "a/128", "/60", "guitar/"])
def test_parts(source: int | str) -> None:
    instrument, pitch = parts(source)
    assert pitch is None or (instrument or None, pitch) in (
        (None, 60),
        ("guitar", 60),
        ("a/b", 7),
    )
    assert (pitch is None) == (source in ("kick", "a/128", "/60", "guitar/"))


class TestDrums:
    @staticmethod
    def recordings(folder: Path, rate: float, name: str = "kick") -> list[Recording]:
        t = np.arange(16000) / 16000
        noise = np.random.default_rng(0).standard_normal(16000) * np.exp(-rate * t) * 0.1
        paths = [write(folder / f"{name}_{n}.wav", noise) for n in range(3)]
        return [Recording(path, name, path.stem) for path in paths]

    def test_hits_are(self, tmp_path: Path) -> None:
        assert are_drums(self.recordings(tmp_path, 20))

    def test_held_sounds_are_not(self, tmp_path: Path) -> None:
        assert not are_drums(self.recordings(tmp_path, 0.5))

    def test_what_has_a_pitch_is_none(self, tmp_path: Path) -> None:
        found = self.recordings(tmp_path, 20)
        assert not are_drums([*found, Recording(found[0].path, "guitar/60", "x")])

    def test_what_cannot_be_read_does_not_count(self, tmp_path: Path) -> None:
        found = self.recordings(tmp_path, 20)
        for recording in found[:2]:
            recording.path.write_text("no sound")
        assert are_drums(found)
        assert not are_drums(found[:2])
