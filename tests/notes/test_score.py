"""Reference notes from MIDI and text, and their piano-roll."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pretty_midi
import pytest

from dds_fast.datasets import Labels, load_labels


def written(tmp_path: Path, text: str, name: str = "notes.txt") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


class TestText:
    ROWS = ((0.5, 1.25, 60), (1.0, 2.0, 64))

    @pytest.mark.parametrize("separator", ["\t", ",", ", ", " ", "   "], ids=repr)
    @pytest.mark.parametrize("header", ["", "OnsetTime{0}OffsetTime{0}MidiPitch\n", "# notes\n"])
    @pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=repr)
    def test_separators_headers_and_newlines(
        self, tmp_path: Path, separator: str, header: str, newline: str
    ) -> None:
        lines = [separator.join(map(str, row)) for row in self.ROWS]
        text = header.format(separator) + "\n".join(lines) + "\n\n"
        labels = load_labels(written(tmp_path, text.replace("\n", newline)))
        assert labels.intervals.tolist() == [[0.5, 1.25], [1.0, 2.0]]
        assert labels.pitches.tolist() == [60, 64]
        assert labels.pitches.dtype.kind == "i"
        assert labels.velocities.tolist() == [64, 64]

    def test_velocity(self, tmp_path: Path) -> None:
        labels = load_labels(written(tmp_path, "onset offset pitch velocity\n0 1 60 99\n1 2 61 5"))
        assert labels.velocities.tolist() == [99, 5]

    def test_tracks(self, tmp_path: Path) -> None:
        labels = load_labels(written(tmp_path, "0 1 60 99 right hand\n1 2 48 5 left\n"))
        assert labels.tracks is not None and labels.tracks.tolist() == ["right hand", "left"]
        assert labels.only([48]).shifted(1).tracks.tolist() == ["left"]
        assert load_labels(written(tmp_path, "0 1 60 99\n")).tracks is None

    def test_the_librarys_own_csv(self, tmp_path: Path) -> None:
        from dds_fast.notes.found import Note, write_notes

        write_notes(tmp_path / "n.csv", [Note(0.5, 1.25, 60, 99)])
        labels = load_labels(str(tmp_path / "n.csv"))
        assert labels.intervals.tolist() == [[0.5, 1.25]]
        assert (labels.pitches.tolist(), labels.velocities.tolist()) == ([60], [99])

    def test_byte_order_mark(self, tmp_path: Path) -> None:
        labels = load_labels(written(tmp_path, "\ufeff0.5\t1.25\t60\n1.0\t2.0\t64\n"))
        assert labels.pitches.tolist() == [60, 64]

    @pytest.mark.parametrize("text", ["", "\n\n", "onset offset pitch\n"], ids=repr)
    def test_no_notes(self, tmp_path: Path, text: str) -> None:
        labels = load_labels(written(tmp_path, text))
        assert labels.intervals.shape == (0, 2)
        assert len(labels.pitches) == 0

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("0 1 60\n1 2\n", 2),
            ("0 1 60\n\nx y z\n", 3),
            ("onset offset pitch\n0 1 60\n0 1 sixty\n", 3),
            ("0 1\n1 2 60\n", 1),
            ("0 oops 60\n1 2 60\n", 1),
            ("0 1 60\nnan 2 60\n", 2),
            ("0 1 60\n1 inf 60\n", 2),
        ],
        ids=[
            "too-few",
            "words",
            "pitch",
            "too-few-in-first-line",
            "typo-in-first-line",
            "nan",
            "inf",
        ],
    )
    def test_broken_lines_are_named(self, tmp_path: Path, text: str, line: int) -> None:
        with pytest.raises(ValueError, match=f"notes.txt, line {line}"):
            load_labels(written(tmp_path, text))

    def test_offset_before_onset(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="note 2 ends before it begins"):
            load_labels(written(tmp_path, "0 1 60\n2 1 64\n"))

    def test_binary_file(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes(bytes(range(128, 256)) * 9)
        with pytest.raises(ValueError, match="a.txt is neither MIDI nor text"):
            load_labels(tmp_path / "a.txt")

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="gone"):
            load_labels(tmp_path / "gone.txt")


class TestMidi:
    @pytest.mark.parametrize("suffix", ["mid", "midi", "MID"])
    def test_notes_of_all_pitched_tracks(self, tmp_path: Path, suffix: str) -> None:
        midi = pretty_midi.PrettyMIDI()
        right, left, drums = (
            pretty_midi.Instrument(0),
            pretty_midi.Instrument(5),
            pretty_midi.Instrument(0, is_drum=True),
        )
        right.notes.append(pretty_midi.Note(90, 72, 1.0, 2.0))
        left.notes.append(pretty_midi.Note(40, 48, 0.5, 1.5))
        drums.notes.append(pretty_midi.Note(100, 36, 0.0, 0.1))
        midi.instruments += [right, left, drums]
        path = tmp_path / f"a.{suffix}"
        midi.write(str(path))
        labels = load_labels(path)
        np.testing.assert_allclose(labels.intervals, [[0.5, 1.5], [1.0, 2.0]], atol=0.003)
        assert labels.pitches.tolist() == [48, 72]
        assert labels.velocities.tolist() == [40, 90]

    def test_tracks_by_name(self, tmp_path: Path) -> None:
        midi = pretty_midi.PrettyMIDI()
        for number, name in enumerate(("flute", "piano", "piano", "")):
            midi.instruments.append(pretty_midi.Instrument(number, name=name))
            midi.instruments[-1].notes.append(pretty_midi.Note(90, 60 + number, number, number + 1))
        midi.write(str(tmp_path / "a.mid"))
        tracks = load_labels(tmp_path / "a.mid").tracks
        assert tracks is not None and tracks.tolist() == ["flute", "piano 2", "piano 3", "track"]

    @pytest.mark.parametrize("content", [b"", b"MThd", b"not midi"], ids=repr)
    def test_broken(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a.mid").write_bytes(content)
        with pytest.raises(ValueError, match="a.mid is not a readable MIDI file"):
            load_labels(tmp_path / "a.mid")


class TestRoll:
    def labels(self, *notes: tuple[float, float, int]) -> Labels:
        table = np.array(notes, dtype=float).reshape(-1, 3)
        return Labels(table[:, :2], table[:, 2].astype(int), np.full(len(table), 64))

    def test_sounds_from_onset_up_to_but_not_at_the_offset(self) -> None:
        times = np.arange(6) * 0.1
        labels = self.labels((0.1, 0.3, 60), (0.15, 0.46, 62), (0.5, 9.0, 60))
        roll = labels.roll([60, 61, 62], times)
        assert roll.dtype == bool
        assert roll.astype(int).tolist() == [
            [0, 1, 1, 0, 0, 1],
            [0, 0, 0, 0, 0, 0],
            [0, 0, 1, 1, 1, 0],
        ]

    def test_a_note_between_two_centres_sounds_nowhere(self) -> None:
        assert not self.labels((0.11, 0.19, 60)).roll([60], np.arange(6) * 0.1).any()

    def test_other_pitches_are_ignored_and_rows_keep_the_given_order(self) -> None:
        labels = self.labels((0, 1, 60), (0, 1, 99))
        assert labels.roll([64, 60], np.zeros(1)).tolist() == [[False], [True]]

    def test_shifted(self) -> None:
        shifted = self.labels((0.1, 0.3, 60)).shifted(0.05)
        np.testing.assert_allclose(shifted.intervals, [[0.15, 0.35]])

    def test_only(self) -> None:
        kept = self.labels((0, 1, 60), (1, 2, 61), (2, 3, 62)).only([62, 60])
        assert kept.pitches.tolist() == [60, 62]
        assert kept.intervals.tolist() == [[0, 1], [2, 3]]
        assert len(kept.velocities) == 2


class TestPedal:
    @staticmethod
    def midi(
        path: Path, notes: list[tuple[int, float, float]], pedal: list[tuple[float, int]]
    ) -> Path:
        instrument = pretty_midi.Instrument(0)
        instrument.notes = [pretty_midi.Note(80, *note) for note in notes]
        instrument.control_changes = [pretty_midi.ControlChange(64, v, t) for t, v in pedal]
        midi = pretty_midi.PrettyMIDI(resolution=960)
        midi.instruments.append(instrument)
        midi.write(str(path))
        return path

    def test_notes_last_until_the_pedal_is_released(self, tmp_path: Path) -> None:
        path = self.midi(
            tmp_path / "a.mid",
            [(60, 0.0, 0.5), (64, 0.0, 1.5), (67, 2.0, 2.5), (70, 4.0, 4.5)],
            [(0.25, 127), (1.0, 63), (2.25, 64)],
        )
        plain, held = (load_labels(path, pedal=pedal) for pedal in (False, True))
        np.testing.assert_allclose(plain.intervals[:, 1], [0.5, 1.5, 2.5, 4.5], atol=1e-3)
        # 60 until the release; 64 ends while the pedal is up; 67 and 70 until the end of the file.
        np.testing.assert_allclose(held.intervals[:, 1], [1.0, 1.5, 4.5, 4.5], atol=1e-3)
        np.testing.assert_array_equal(plain.intervals[:, 0], held.intervals[:, 0])

    def test_a_key_struck_again_ends_the_held_note(self, tmp_path: Path) -> None:
        path = self.midi(
            tmp_path / "a.mid", [(60, 0.0, 0.5), (60, 1.0, 1.5)], [(0.0, 100), (2.0, 0)]
        )
        ends = load_labels(path, pedal=True).intervals[:, 1]
        np.testing.assert_allclose(ends, [1.0, 2.0], atol=1e-3)

    def test_same_roll_as_pretty_midi(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        notes = []
        for pitch in range(60, 72):
            onsets = np.cumsum(rng.uniform(0.3, 2.0, 8))
            notes += [(pitch, float(t), float(t + rng.uniform(0.05, 0.25))) for t in onsets]
        changes = np.cumsum(rng.uniform(0.1, 0.8, 30))
        pedal = [(float(t), int(v)) for t, v in zip(changes, rng.integers(0, 128, 30), strict=True)]
        path = self.midi(tmp_path / "a.mid", notes, pedal)
        times = np.arange(0, 20, 0.0005)
        roll = load_labels(path, pedal=True).roll(range(128), times)
        theirs = pretty_midi.PrettyMIDI(str(path)).get_piano_roll(fs=2000)[:, : len(times)] > 0
        roll = roll[:, : theirs.shape[1]]
        # Theirs begins and ends a note at the frame before its time: one frame at each end.
        n_ends = 2 * len(notes)
        assert (roll != theirs).sum() <= n_ends
        plain = load_labels(path).roll(range(128), times)[:, : theirs.shape[1]]
        assert (plain != theirs).sum() > 50 * n_ends

    def test_text_says_nothing_of_the_pedal(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("0 1 60\n")
        with pytest.raises(ValueError, match="nothing of the pedal"):
            load_labels(tmp_path / "a.txt", pedal=True)
