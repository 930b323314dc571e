"""MIDI as programs write it and players take it, by bytes made by hand."""

from __future__ import annotations

import logging
import struct
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dds_fast.datasets import Labels, load_labels

NOTE = b"\x00\x90\x3c\x40\x83\x60\x80\x3c\x40"
"""Middle C for 480 ticks."""


def track(*events: bytes) -> bytes:
    data = b"".join(events) + b"\x00\xff\x2f\x00"
    return b"MTrk" + struct.pack(">I", len(data)) + data


def midi(*chunks: bytes, division: int = 480, kind: int = 1, n_tracks: int | None = None) -> bytes:
    n = sum(c.startswith(b"MTrk") for c in chunks) if n_tracks is None else n_tracks
    return b"MThd" + struct.pack(">IHHH", 6, kind, n, division) + b"".join(chunks)


def read(folder: Path, content: bytes, name: str = "a.mid", pedal: bool = False) -> Labels:
    (folder / name).write_bytes(content)
    return load_labels(folder / name, pedal=pedal)


def riff(content: bytes) -> bytes:
    data = b"data" + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(data) + 4 + 12) + b"RMID" + data + b"LIST\x04\0\0\0INFO"


FOREIGN = b"XFIH" + struct.pack(">I", 4) + b"abcd"


@pytest.mark.parametrize(
    "content",
    [
        midi(track(b"\x00\xb0\x07\xff", NOTE)),
        midi(track(b"\x00\x90\x3c\xc8\x83\x60\x80\x3c\x40")),
        midi(track(b"\x00\xff\x59\x02\x0a\x00", NOTE)),
        midi(track(b"\x00\xff\x58\x04\x00\x02\x18\x08", NOTE)),
        midi(track(b"\x00\xff\x54\x01\x00", b"\x00\xff\x51\x03\x00\x00\x00", NOTE)),
        midi(track(b"\x00\xff\x51\x00", b"\x00\xff\x20\x00", NOTE)),
        midi(track(b"\x00\xf0\x03\xff\xff\xf7", NOTE)),
        midi(FOREIGN, track(NOTE)),
        midi(track(NOTE), FOREIGN),
        midi(track(NOTE)) + b"\x00" * 11,
        midi(track(NOTE), n_tracks=2),
        riff(midi(track(NOTE))),
    ],
    ids=[
        "controller",
        "velocity",
        "key",
        "time signature",
        "tempo of 0",
        "empty",
        "sysex",
        "foreign before",
        "foreign after",
        "padded",
        "2 tracks promised",
        "RIFF",
    ],
)
def test_read_as_players_do(tmp_path: Path, content: bytes) -> None:
    labels = read(tmp_path, content)
    assert labels.intervals.tolist() == [[0, 0.5]] and labels.pitches.tolist() == [60]
    assert labels.velocities.tolist() in ([64], [127])


@pytest.mark.parametrize("name", ["a.kar", "a.KAR", "a.smf", "a.rmi", "a.midi", "a", "a.txt"])
def test_any_name(tmp_path: Path, name: str) -> None:
    assert len(read(tmp_path, midi(track(NOTE)), name)) == 1


@pytest.mark.parametrize(("division", "seconds"), [(0xE728, 0.48), (0xE350, 480 / (80 * 29.97))])
def test_time_code_knows_no_tempo(tmp_path: Path, division: int, seconds: float) -> None:
    tempo = b"\x00\xff\x51\x03\x01\x00\x00"
    labels = read(tmp_path, midi(track(tempo, NOTE), division=division))
    np.testing.assert_allclose(labels.intervals, [[0, seconds]], rtol=1e-5)


def test_an_event_of_unknown_meaning_takes_its_time(tmp_path: Path) -> None:
    labels = read(tmp_path, midi(track(b"\x83\x60\xff\x4b\x01\x00", NOTE)))
    assert labels.intervals.tolist() == [[0.5, 1]]


def test_tempo_of_any_track(tmp_path: Path) -> None:
    tempo = b"\x00\xff\x51\x03\x03\xd0\x90"  # twice the speed
    assert read(tmp_path, midi(track(NOTE), track(tempo))).intervals.tolist() == [[0, 0.25]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (midi(track(NOTE))[:-6], "truncated: track 1 has 7 of 13 bytes"),
        (midi(track(NOTE), track(NOTE))[:-9], "truncated: track 2"),
        (midi(track(b"\x00\xff\x01\x7fabc")), "track 1 ends inside an event"),
        (midi(track(NOTE))[:10], "cut off in its header"),
        (midi(), "no track"),
        (midi(track(NOTE), division=0), "division is 0"),
        (midi(track(NOTE), division=0xE700), "division is 0"),
        (midi(track(NOTE), track(NOTE), kind=2), "format 2: 2 pieces"),
        (midi(track(b"\x00\x3c\x40")), "no event"),
        (midi(track(b"\x00\xf2\x00\x00")), "0xf2"),
        (midi(track(b"\xff\xff\xff\x7f\x90\x3c\x40")), "largest tick"),
        (b"RIFF\x04\x00\x00\x00RMID", "MThd"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused_with_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=f"a.mid is not a readable MIDI file: .*{reason}"):
        read(tmp_path, content)


def test_what_is_left_out_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="dds_fast"):
        assert len(read(tmp_path, midi(track(NOTE, b"\x00\x90\x40\x40"), n_tracks=3))) == 1
    assert "tells of 3 tracks, 1 are there" in caplog.text
    assert "a.mid: 1 notes have no end" in caplog.text


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_names_of_tracks(tmp_path: Path, encoding: str) -> None:
    name = "Flöte".encode(encoding)
    event = b"\x00\xff\x03" + bytes([len(name)]) + name
    tracks = read(tmp_path, midi(track(event, NOTE))).tracks
    assert tracks is not None and tracks.tolist() == ["Flöte"]


class TestPedal:
    """Down from 0 to 1.5 s; the note itself ends at 0.5 s, another one at 1.5 s."""

    PEDAL = b"\x00\xb0\x40\x7f\x8b\x20\xb0\x40\x00"
    LAST = b"\x87\x40\x90\x40\x40\x83\x60\x80\x40\x40"

    @pytest.mark.parametrize(("value", "end"), [(63, 0.5), (64, 1.5)])
    def test_down_from_64_on(self, tmp_path: Path, value: int, end: float) -> None:
        assert (
            self.end(tmp_path, self.PEDAL.replace(b"\x7f", bytes([value])), NOTE + self.LAST) == end
        )

    def end(self, folder: Path, *tracks: bytes) -> float:
        labels = read(folder, midi(*map(track, tracks)), pedal=True)
        return float(labels.intervals[labels.pitches == 60][0, 1])

    def test_in_another_track_of_the_channel(self, tmp_path: Path) -> None:
        assert self.end(tmp_path, NOTE + self.LAST) == 0.5
        assert self.end(tmp_path, self.PEDAL, NOTE + self.LAST) == 1.5
        assert self.end(tmp_path, NOTE + self.LAST, self.PEDAL) == 1.5

    def test_not_of_another_channel_or_port(self, tmp_path: Path) -> None:
        assert self.end(tmp_path, self.PEDAL.replace(b"\xb0", b"\xb1"), NOTE + self.LAST) == 0.5
        port = b"\x00\xff\x21\x01\x01"
        assert self.end(tmp_path, port + self.PEDAL, NOTE + self.LAST) == 0.5
        assert self.end(tmp_path, port + self.PEDAL, port + NOTE + self.LAST) == 1.5

    def test_through_a_change_of_program(self, tmp_path: Path) -> None:
        down, up = b"\x00\xb0\x40\x7f", b"\x83\x60\xb0\x40\x00"
        assert self.end(tmp_path, down + NOTE + b"\x00\xc0\x05" + up + self.LAST) == 1

    def test_a_key_struck_again_in_another_track(self, tmp_path: Path) -> None:
        again = b"\x87\x40\x90\x3c\x40\x83\x60\x80\x3c\x40"
        assert self.end(tmp_path, self.PEDAL, NOTE, again) == 1


def test_same_as_pretty_midi(tmp_path: Path) -> None:
    """Whatever it can read: instruments, their names, their notes."""
    rng = np.random.default_rng(0)
    made = pretty_midi.PrettyMIDI(initial_tempo=97)
    for name in ("piano", "piano", "", "drums"):
        made.instruments.append(pretty_midi.Instrument(3, name == "drums", name))
        onsets = np.cumsum(rng.uniform(0.05, 0.3, 60))
        made.instruments[-1].notes = [
            pretty_midi.Note(*rng.integers((1, 0), 128).tolist(), t, t + rng.uniform(0.1, 0.4))
            for t in onsets.tolist()
        ]
    made.write(str(tmp_path / "a.mid"))
    theirs = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid"))
    expected = sorted(
        (note.start, note.end, note.pitch, note.velocity, name)
        for instrument, name in zip(
            theirs.instruments, ("piano 1", "piano 2", "track", "drums"), strict=True
        )
        for note in instrument.notes
        if not instrument.is_drum
    )
    labels = load_labels(tmp_path / "a.mid")
    assert labels.tracks is not None and labels.tracks.tolist() == [note[4] for note in expected]
    np.testing.assert_array_equal(labels.intervals, [note[:2] for note in expected])
    np.testing.assert_array_equal(labels.pitches, [note[2] for note in expected])
    np.testing.assert_array_equal(labels.velocities, [note[3] for note in expected])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=4), st.integers(0, 60))
def test_anything_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], length: int
) -> None:
    content = bytearray(midi(track(b"\x00\xff\x03\x01a", TestPedal.PEDAL), track(NOTE)))
    for place, value in changes:
        content[place % len(content)] = value
    try:
        labels = read(tmp_path_factory.mktemp("m"), bytes(content[: len(content) - length // 2]))
    except ValueError as error:
        assert "a.mid is not a readable MIDI file: " in str(error)
    else:
        assert ((labels.pitches >= 0) & (labels.pitches <= 127)).all()
        assert (labels.intervals[:, 0] <= labels.intervals[:, 1]).all()
