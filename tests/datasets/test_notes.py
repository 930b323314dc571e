"""Isolated notes: names, origins, splits, broken files."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import CONFIG, tone

from dds_fast.datasets import Note, NoteFrames, Recording, find_notes, load_notes
from dds_fast.datasets.note_files import pitch_of
from dds_fast.datasets.notes import note_spectra
from dds_fast.datasets.synthetic import instruments


def write(path: Path, samples: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(1600) if samples is None else samples, 16000)
    return path


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    ("stem", "pitch"),
    [
        ("60", 60),
        ("060_mf", 60),
        ("60_v1", 60),
        ("60-pp", 60),
        ("60.take2", 60),
        ("0_x", 0),
        ("127", 127),
        ("128", None),
        ("1000", None),
        ("60a", None),
        ("C4", 60),
        ("c4_soft", 60),
        ("Fs3-pp", 54),
        ("F#3", 54),
        ("Bb2-pp", 46),
        ("b2", 47),
        ("bb2", 46),
        ("Cb4", 59),
        ("B#3", 60),
        ("C-1", 0),
        ("G9", 127),
        ("Gs9", None),
        ("C-2", None),
        ("C44", None),
        ("H4", None),
        ("piano", None),
        ("", None),
        ("take_60", 60),
        ("take_3", None),
        ("take 3 60", None),
        ("v64_60", 60),
        ("Piano.ff.Bb3", 58),
        ("Upright C#2 close", 37),
        ("FF C1", 24),
        ("room C4 G4", None),
        ("A0v1", 21),
        ("S0_M60_Piano", 60),
        ("LEVEL1 CLOSE 36", 36),
        ("piano_109", None),
    ],
)
def test_pitch_of(stem: str, pitch: int | None) -> None:
    assert pitch_of(stem) == pitch


class TestFindNotes:
    def test_sorted_by_pitch_and_searched_in_subfolders(self, tmp_path: Path) -> None:
        touch(tmp_path / "b" / "62_x.wav", tmp_path / "a" / "C4.flac", tmp_path / "61.OGG")
        touch(tmp_path / "a" / "notes.txt", tmp_path / "a" / "readme.md")
        found = find_notes(tmp_path)
        assert [r.pitch for r in found] == [60, 61, 62]
        assert found[0].path == tmp_path / "a" / "C4.flac"

    def test_wanted_pitches_only(self, tmp_path: Path) -> None:
        touch(*(tmp_path / f"{n}.wav" for n in (59, 60, 61)))
        assert [r.pitch for r in find_notes(str(tmp_path), range(60, 62))] == [60, 61]
        with pytest.raises(ValueError, match="no isolated notes"):
            find_notes(tmp_path, [99])

    def test_several_folders(self, tmp_path: Path) -> None:
        touch(tmp_path / "x" / "60.wav", tmp_path / "y" / "61.wav")
        assert len(find_notes([tmp_path / "x", str(tmp_path / "y")])) == 2

    def test_unnamed_files_are_reported(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        touch(tmp_path / "60.wav", tmp_path / "noise.wav", tmp_path / "room.wav")
        with caplog.at_level(logging.WARNING, logger="dds_fast"):
            assert len(find_notes(tmp_path)) == 1
        assert "2 problems with the notes" in caplog.text
        assert "noise.wav: its name holds no note" in caplog.text

    def test_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="gone"):
            find_notes(tmp_path / "gone")

    def test_no_notes_says_how_files_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=rf"{tmp_path.name}.*MIDI number.*note name"):
            find_notes(tmp_path)

    def test_origins_from_the_index(self, tmp_path: Path) -> None:
        touch(*(tmp_path / "piano" / f"{n}_v1.wav" for n in (60, 61, 62)))
        (tmp_path / "piano" / "index.csv").write_text(
            "midi,layer,source\n60,v1,A.wav\n61,v1,A.wav\n"
        )
        first, second, third = (r.origin for r in find_notes(tmp_path))
        assert first == second
        assert third != first

    def test_a_note_of_the_index_without_a_file_is_reported(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        touch(*(tmp_path / "piano" / f"{n}_v1.wav" for n in (60, 61)))
        (tmp_path / "piano" / "index.csv").write_text(
            "midi,layer,source\n60,v1,A\n60,v2,A\n61,v1,B\n62,v1,C\n63,v1,D\n"
        )
        with caplog.at_level(logging.WARNING, logger="dds_fast"):
            find_notes(tmp_path, (60, 61, 62))
        assert caplog.text.count("has no file") == 1
        assert "note 62 has no file" in caplog.text

    def test_one_source_file_of_many_notes_holds_many_recordings(self, tmp_path: Path) -> None:
        touch(*(tmp_path / f"{n}_{v}.wav" for n in (60, 61, 62) for v in ("soft", "loud")))
        rows = ["midi,layer,source,source_midi"]
        rows += [
            f"{n},{v},bank.sf2,{m}"
            for n, m in ((60, 60), (61, 60), (62, 62))
            for v in ("soft", "loud")
        ]
        (tmp_path / "index.csv").write_text("\n".join(rows))
        origins = {r.path.stem: r.origin for r in find_notes(tmp_path)}
        assert origins["60_soft"] == origins["60_loud"] == origins["61_soft"]
        assert origins["62_soft"] == origins["62_loud"] != origins["60_soft"]

    def test_indices_may_say_that_instruments_share_recordings(self, tmp_path: Path) -> None:
        for piano, source in (("a", "x/C4.wav"), ("b", "x/C4.wav"), ("c", "y/C4.wav")):
            touch(tmp_path / piano / "60_v1.wav")
            (tmp_path / piano / "index.csv").write_text(f"midi,layer,source\n60,v1,{source}\n")
        a, b, c = (r.origin for r in find_notes(tmp_path))
        assert a == b != c

    def test_a_midi_number_that_is_none_is_placed(self, tmp_path: Path) -> None:
        touch(tmp_path / "60_v1.wav")
        (tmp_path / "index.csv").write_text("midi,layer,source\n60,v1,A\nC4,v1,A\n")
        with pytest.raises(ValueError, match="index.csv, line 3.*'C4'"):
            find_notes(tmp_path)

    def test_an_index_without_its_columns_is_named(self, tmp_path: Path) -> None:
        touch(tmp_path / "60_v1.wav")
        (tmp_path / "index.csv").write_text("pitch,file\n60,A.wav\n")
        with pytest.raises(ValueError, match="index.csv"):
            find_notes(tmp_path)

    def test_equal_names_in_other_folders_are_other_recordings(self, tmp_path: Path) -> None:
        touch(tmp_path / "steinway" / "notes" / "60.wav", tmp_path / "kawai" / "notes" / "60.wav")
        first, second = find_notes(tmp_path)
        assert first.origin != second.origin


class TestLoadNotes:
    def test_frames_labels_and_origins(self, tmp_path: Path) -> None:
        for name in ("60_a", "60_b", "72_a"):
            write(tmp_path / f"{name}.wav")
        notes = load_notes(find_notes(tmp_path), CONFIG)
        assert notes.sources == (60, 72)
        assert all(type(source) is int for source in notes.sources)
        assert notes.frames.shape[1] == 64
        assert notes.frames.dtype == np.float32
        assert len(np.unique(notes.origins)) == 3
        assert [len(np.unique(notes.origins[notes.labels == s])) for s in (0, 1)] == [2, 1]

    def test_one_report_names_everything_and_the_rest_goes_on(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        piano = instruments(1)[0]
        for pitch in (60, 64, 67):
            write(tmp_path / f"{pitch}.wav", piano.tone(pitch, 100, 0.5, 16000))
        (tmp_path / "67.wav").rename(tmp_path / "66.wav")
        write(tmp_path / "61.wav", np.zeros(1600))
        write(tmp_path / "62.wav", tone(100))
        (tmp_path / "63.wav").write_text("text")
        whole = write(tmp_path / "65.wav").read_bytes()
        (tmp_path / "65.wav").write_bytes(whole[:2000])
        (tmp_path / "noise.wav").write_bytes(whole)
        with caplog.at_level(logging.WARNING, logger="dds_fast"):
            notes = load_notes(tmp_path, CONFIG)
        assert notes.sources == (60, 64, 66)
        (record,) = caplog.records
        lines = record.getMessage().splitlines()
        assert lines[0] == "6 problems with the notes:"
        for line, words in zip(
            lines[1:],
            [
                "noise.wav: its name holds no note",
                "61.wav: the recording is silent; skipped",
                "62.wav: the recording has 100 samples at 16000 Hz, shorter",
                "63.wav is not a readable",
                "65.wav: the file is cut short: 1956 of 3200 bytes",
                "66.wav: named 66, but sounds like 67; kept",
            ],
            strict=True,
        ):
            assert words in line

    def test_another_octave_convention_is_one_line(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        piano = instruments(1)[0]
        for pitch in (60, 62, 64, 65):
            write(tmp_path / f"{pitch - 12}.wav", piano.tone(pitch, 100, 0.5, 16000))
        with caplog.at_level(logging.WARNING, logger="dds_fast"):
            load_notes(tmp_path, CONFIG)
        assert "1 problems" in caplog.text
        assert "4 of 4 files sound 12 semitones above their names" in caplog.text

    @pytest.mark.parametrize("suffix", [".wav", ".aiff", ".flac", ".ogg"])
    def test_cut_short(self, suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        write(tmp_path / "60.wav")
        path = write(tmp_path / f"61{suffix}", tone(16000))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with caplog.at_level(logging.WARNING, logger="dds_fast"):
            assert load_notes(tmp_path, CONFIG).sources == (60,)
        assert f"61{suffix}" in caplog.text

    def test_a_header_that_knows_no_length_is_no_damage(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = write(tmp_path / "69.wav", tone(16000))
        content = bytearray(path.read_bytes())
        place = content.index(b"data") + 4
        content[place : place + 4] = b"\xff\xff\xff\xff"  # as a recorder writes to a pipe
        path.write_bytes(content)
        with caplog.at_level(logging.WARNING, logger="dds_fast"):
            load_notes(tmp_path, CONFIG)
        assert not caplog.records

    def test_any_rate_channels_and_length(self, tmp_path: Path) -> None:
        for pitch, sr, n in ((60, 44100, 4000), (61, 8000, 9000), (62, 16000, 128)):
            frequency = 440 * 2 ** ((pitch - 69) / 12)
            stereo = np.stack([tone(n, frequency, sr)] * 2, axis=1)
            soundfile.write(tmp_path / f"{pitch}.wav", stereo, sr)
        notes = load_notes(tmp_path, CONFIG, pitches=(60, 61, 62))
        frames = np.bincount(notes.labels)
        assert [abs(n - m) <= 2 for n, m in zip(frames, (1451 / 64, 18000 / 64, 3), strict=True)]

    def test_in_memory_and_in_files_are_the_same(self, tmp_path: Path) -> None:
        piano = instruments(1)[0]
        made = list(piano.notes((60, 64), (40, 100), 0.2, 16000))
        for note in made:
            path = tmp_path / f"{note.pitch}_{note.layer}.wav"
            soundfile.write(path, note.waveform, note.sr, subtype="FLOAT")
        memory = NoteFrames.from_notes(made, CONFIG, gains_db=(0, -6))
        files = load_notes(tmp_path, CONFIG, gains_db=(0, -6))
        assert memory.sources == files.sources == (60, 64)
        np.testing.assert_array_equal(np.sort(memory.frames, 0), np.sort(files.frames, 0))
        assert len(np.unique(memory.origins)) == 4

    def test_no_notes_in_memory(self) -> None:
        with pytest.raises(ValueError, match="no notes were given"):
            NoteFrames.from_notes([], CONFIG)
        silence = Note(60, "v1", "nothing", np.zeros(1600, np.float32), 16000)
        with pytest.raises(ValueError, match="silent"):
            NoteFrames.from_notes([silence], CONFIG)

    def test_short_files_are_named(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        write(tmp_path / "60.wav")
        write(tmp_path / "62.wav", tone(100))
        with caplog.at_level(logging.WARNING, logger="dds_fast"):
            load_notes(find_notes(tmp_path), CONFIG)
        assert "62.wav" in caplog.text

    def test_a_file_that_has_vanished_is_skipped(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        recordings = [
            Recording(write(tmp_path / "60.wav"), 60, "a"),
            Recording(tmp_path / "61.wav", 61, "b"),
        ]
        with caplog.at_level(logging.WARNING, logger="dds_fast"):
            assert load_notes(recordings, CONFIG).sources == (60,)
        assert "61.wav" in caplog.text

    def test_none_readable(self, tmp_path: Path) -> None:
        (tmp_path / "60.wav").write_text("text")
        with pytest.raises(ValueError, match="none of the note files"):
            load_notes(find_notes(tmp_path), CONFIG)

    def test_silent_parts_are_left_out(self) -> None:
        frames = note_spectra(np.concatenate([np.zeros(6400), tone(6400)]), CONFIG)
        assert 100 <= len(frames) <= 103

    def test_gains_are_levels_in_db(self) -> None:
        both = note_spectra(tone(1600), CONFIG, gains_db=(0, -20))
        loud, soft = np.split(both, 2)
        np.testing.assert_array_equal(loud, note_spectra(tone(1600), CONFIG))
        amplitude = np.expm1(loud * np.log1p(1e4)), np.expm1(soft * np.log1p(1e4))
        np.testing.assert_allclose(amplitude[1], 0.1 * amplitude[0], rtol=1e-3, atol=1e-3)


class TestFromMapping:
    def test_parts(self) -> None:
        notes = NoteFrames.from_mapping({60: np.ones((20, 4)), "kick": np.zeros((5, 4))})
        assert notes.sources == (60, "kick")
        assert notes.frames.shape == (25, 4)
        assert notes.labels.tolist() == [0] * 20 + [1] * 5
        assert len(np.unique(notes.origins[:20])) == 10
        assert len(np.unique(notes.origins[20:])) == 5
        assert not set(notes.origins[:20]) & set(notes.origins[20:])

    @pytest.mark.parametrize(
        ("notes", "message"),
        [
            ({}, "no notes"),
            ({60: np.ones(4)}, r"source 60.*\(4,\)"),
            ({60: np.ones((0, 4))}, r"source 60.*\(0, 4\)"),
            ({60: np.ones((3, 4)), 61: np.ones((3, 5))}, "source 61 has 5 bins, others 4"),
            ({60: np.full((3, 4), -1.0)}, "source 60 has negative"),
        ],
        ids=["nothing", "1-d", "no-frames", "bins", "negative"],
    )
    def test_errors(self, notes: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            NoteFrames.from_mapping(notes)

    @pytest.mark.parametrize("bad", [np.nan, np.inf], ids=str)
    def test_non_finite_frames_are_placed(self, bad: float) -> None:
        frames = np.ones((9, 4))
        frames[[7, 3], 1] = bad
        with pytest.raises(ValueError, match="source 'hat' holds 2 NaN.*frame 3"):
            NoteFrames.from_mapping({60: np.ones((2, 4)), "hat": frames})


@st.composite
def collections(draw: st.DrawFn) -> NoteFrames:
    """Frames of up to five sources; recordings may serve several sources."""
    n_sources = draw(st.integers(1, 5))
    rows = draw(
        st.lists(
            st.tuples(st.integers(0, n_sources - 1), st.integers(0, 8)), min_size=1, max_size=40
        )
    )
    rows += [(source, draw(st.integers(0, 8))) for source in range(n_sources)]
    labels, origins = np.array(rows).T
    frames = np.arange(len(rows), dtype=np.float32)[:, None]
    return NoteFrames(frames, tuple(range(n_sources)), labels, origins)


class TestSplit:
    @settings(max_examples=150, deadline=None)
    @given(collections(), st.floats(0, 1), st.integers(0, 99))
    def test_every_source_keeps_training_data(
        self, notes: NoteFrames, fraction: float, random_state: int
    ) -> None:
        training, validation = notes.split(fraction, random_state)
        assert set(training.labels) == set(range(len(notes.sources)))
        single = np.isin(np.array(notes.sources), notes.single_takes)
        assert not set(training.origins) & set(validation.origins[~single[validation.labels]])
        together = np.concatenate([training.frames, validation.frames])[:, 0]
        assert len(set(together)) == len(together)
        of_several = notes.frames[~single[notes.labels], 0]
        assert set(of_several) <= set(together) <= set(notes.frames[:, 0])
        assert training.sources == validation.sources == notes.sources

    def test_about_the_asked_fraction(self) -> None:
        frames = np.zeros((200, 1), np.float32)
        labels, origins = np.repeat([0, 1], 100), np.repeat(np.arange(40), 5)
        _, validation = NoteFrames(frames, (60, 61), labels, origins).split(0.2)
        counts = [len(np.unique(validation.origins[validation.labels == s])) for s in (0, 1)]
        assert counts == [4, 4]

    def test_shared_recordings_go_to_one_side(self) -> None:
        # Each recording was resampled to the two neighbouring pitches.
        origins = np.repeat(np.arange(10), 3)
        labels = (origins * 3 + np.tile([0, 1, 2], 10)) % 6
        notes = NoteFrames(np.zeros((30, 1), np.float32), tuple(range(6)), labels, origins)
        training, validation = notes.split(0.3, random_state=1)
        assert len(validation.frames) > 0
        assert not set(training.origins) & set(validation.origins)
        assert all((validation.origins == o).sum() == 3 for o in set(validation.origins))

    @pytest.mark.parametrize(
        ("n", "held", "left_out"),
        [(1, [], []), (2, [0], []), (5, [2], [1, 3]), (40, [*range(16, 24)], [14, 15, 24, 25])],
    )
    def test_the_middle_of_a_single_take(
        self, n: int, held: list[int], left_out: list[int]
    ) -> None:
        frames = np.arange(n + 6, dtype=np.float32)[:, None]
        labels = np.repeat([0, 1], [n, 6])
        notes = NoteFrames(frames, ("kick", "snare"), labels, labels + (np.arange(n + 6) > n + 2))
        assert notes.single_takes == ("kick",)
        training, validation = notes.split(0.2)
        assert validation.frames[validation.labels == 0, 0].tolist() == held
        others = set(range(n)) - set(held) - set(left_out)
        assert set(training.frames[training.labels == 0, 0].tolist()) == others
        assert (validation.labels == 1).sum() == 3

    def test_seeds(self) -> None:
        notes = NoteFrames.from_mapping({60: np.zeros((50, 1)), 61: np.zeros((50, 1))})
        splits = [set(notes.split(0.3, n)[1].origins) for n in (0, 0, 1, 2, 3)]
        assert splits[0] == splits[1]
        assert any(other != splits[0] for other in splits[2:])
