"""Notes as other programs write them: read rightly, or refused with their line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dds_fast.datasets import Labels, load_labels

MUSICNET = "start_time,end_time,instrument,note,start_beat,end_beat,note_value\n"


def read(folder: Path, content: str | bytes) -> Labels:
    path = folder / "notes.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return load_labels(path)


@pytest.mark.parametrize(
    "text",
    [
        "0,50\t1,20\t69\n",
        "0,5;1,2;69\n",
        "onset;offset;pitch\n0,5;1,2;69\n",
        "0,5 1,2 69\n",
        '"0.5","1.2","69"\n',
        '"0,5","1,2","69"\n',
        '"0,5" "1,2" "69"\n',
        "0.5\t\t1.2\t\t69\n",
        "0.5,1.2,69,\n",
        "pitch,onset,offset\n69,0.5,1.2\n",
        "# pitch onset offset\n69 0.5 1.2\n",
        "# notes of: a piece\nMIDI Note\tBegin Time\tEnd Time\n69.0\t0.5\t1.2\n",
        "# columns: onset offset pitch\n0.5 1.2 69\n",
        '# "quoted\n0.5 1.2 69\n',
        ",onset,offset,pitch\n0,0.5,1.2,69\n",
        "id,pitch,onset_sec,onset_beat,duration_sec\nn1,69,0.5,1,0.7\n",
        "onset_ms,offset_ms,pitch\n500,1200,69\n",
        "Time (s),Frequency (Hz),Duration (s)\n0.5,440.2,0.7\n",
        "onset\toffset\tpitch_hz\n0.5\t1.2\t440\n",
        MUSICNET + "22050,52920,1,69,0.0,1.5,Quarter\n",
    ],
    ids=repr,
)
def test_read_rightly(tmp_path: Path, text: str) -> None:
    labels = read(tmp_path, text)
    assert labels.intervals.tolist() == [pytest.approx([0.5, 1.2])]
    assert (labels.pitches.tolist(), labels.velocities.tolist()) == ([69], [64])


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("0,50,1,20,69\n", 1, "decimal"),
        ("onset,offset,pitch\n0,50,1,20,69\n", 2, "5 columns, the header names 3"),
        ("0,5\t1,2\t69\n1.5\t2,2\t69\n", 2, "decimal commas and decimal points"),
        ('"onset" "offset" "pitch"\n"1" 0.5 1.2 69\n', 2, "4 columns"),
        ("0,0.5,1.2,69\n", 1, "pitch"),
        ("0 0 1 69\n1 1 2 70\n", 1, "no pitches"),
        ("0.5,69,0.7,0.9,New Point\n", 1, "pitch"),
        ("TIME,VALUE,DURATION,LEVEL,LABEL\n0.5,69,0.7,0.9,New Point\n", 1, "pitch or frequency"),
        ("0.5,440.0,0.7\n", 1, "pitch"),
        ("0.5,440,1\n1.5,440,1\n", 1, "no pitches"),
        ("0.5\t\t440.00\t\t0.7\n", 1, "pitch"),
        ("0.5\t1.2\t440.0\n", 1, "440"),
        ("0.5 1.2 69.3\n", 1, "69.3"),
        ("0.5 1.2 -1\n", 1, "-1"),
        ("0.5 1.2 128\n", 1, "128"),
        ("0.5 1.2 69 0\n", 1, "velocity"),
        ("0.5 1.2 69 90\n0.7 69 90\n", 2, "more or fewer columns"),
        ("0.5 1.2 69\n0.7 1.4 7 71\n", 2, "more or fewer columns"),
        ("pitch,onset,offset,velocity\n69,0.5,1.2,90\n0.7,1.4,90\n", 3, "no velocity"),
        ("0.5 1.2 69 128\n", 1, "velocity"),
        ("0.5 1.2 69 0.9\n", 1, "velocity"),
        ("0.5 1.2 1e999\n", 1, "pitch"),
        ("0.5 1.2 6_9\n", 1, "6_9"),
        ("onset,pitch,velocity\n0.5,69,64\n", 1, "offset or duration"),
        ("time,onset,offset,pitch\n1,0.5,1.2,69\n", 1, "two columns"),
        ("Beginn;Ende;Note\n0,5;1,2;69\n", 1, "onset"),
        ("onset,offset,hz\n0.5,1.2,0\n", 2, "frequency"),
        ("onset\tduration\tpitch\n0.5\t-0.1\t69\n", 2, "ends before"),
        ('0 1 60\n"0.5 1.2 69\n', 2, "unexpected end"),
        (MUSICNET + "0.5,1.2,1,69,0.0,1.5,Quarter\n", 2, "onset is no number: '0.5'"),
    ],
    ids=lambda value: repr(value) if isinstance(value, str) else "",
)
def test_refused(tmp_path: Path, text: str, line: int, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"notes\.txt, line {line}: .*{reason}"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252"]
)
def test_encodings(tmp_path: Path, encoding: str) -> None:
    labels = read(tmp_path, "0.5\t1.2\t69\t99\tFlöte\r\n".encode(encoding))
    assert labels.tracks is not None and labels.tracks.tolist() == ["Flöte"]
    assert labels.velocities.tolist() == [99]


@pytest.mark.parametrize(
    ("text", "track"),
    [
        ("0.5 1.2 69 99 a, b, c\n", "a, b, c"),
        ('"0,5";"1,2";"69";"80";"left; hand"\n', "left; hand"),
        ("0.5,1.2,69,,left hand\n", "left hand"),
        ("0.5,1.2,69,99,2\n", "2"),
        ("onset offset pitch velocity track\n0.5 1.2 69 99 right hand\n", "right hand"),
        ("track,onset,offset,pitch\nright hand,0.5,1.2,69\n", "right hand"),
    ],
    ids=repr,
)
def test_tracks(tmp_path: Path, text: str, track: str) -> None:
    labels = read(tmp_path, text)
    assert labels.tracks is not None and labels.tracks.tolist() == [track]
    assert labels.pitches.tolist() == [69]


@pytest.mark.parametrize(
    "text",
    [
        "0.5 kick\n",
        "0.5\tkick\n",
        "0,5;kick\n",
        "onset,source\n0.5,kick\n",
        "start_time_s,end_time_s,pitch_midi,velocity,source\n0.5,0.55,,64,kick\n",
        "onset,drum,duration\n0.5,kick,0.05\n",
    ],
    ids=repr,
)
def test_drums_need_no_pitch(tmp_path: Path, text: str) -> None:
    labels = read(tmp_path, text)
    assert labels.intervals.tolist() == [pytest.approx([0.5, 0.55])]
    assert labels.tracks is not None and labels.tracks.tolist() == ["kick"]
    assert labels.pitches.tolist() == [-1]


def test_keys_of_an_instrument(tmp_path: Path) -> None:
    labels = read(tmp_path, "onset,offset,source\n0.5,1,guitar/60\n0.7,1,guitar/61\n")
    assert labels.pitches.tolist() == [60, 61]
    assert labels.tracks is not None and labels.tracks.tolist() == ["guitar"] * 2
    assert labels.rows(["Guitar/61", "guitar/60", 60, "kick"]).tolist() == [1, 0]
    assert labels.rows([60, "guitar"]).tolist() == [1, 1]
    assert labels.rows([60, "piano/61"]).tolist() == [0, -1]


@settings(max_examples=200, deadline=None)
@given(
    st.tuples(st.floats(0, 1e4), st.floats(0, 99), st.integers(0, 127), st.integers(1, 127)),
    st.sampled_from([("\t", ","), (";", ","), (" ", ","), ("\t", "."), (",", "."), ("  ", ".")]),
    st.permutations(["onset", "offset", "pitch", "velocity"]),
)
def test_any_layout_is_one_note(
    tmp_path_factory: pytest.TempPathFactory,
    note: tuple[float, float, int, int],
    signs: tuple[str, str],
    order: list[str],
) -> None:
    onset, duration, pitch, velocity = note
    fields = {
        "onset": f"{onset:.4f}",
        "offset": f"{onset + duration:.4f}",
        "pitch": f"{pitch}",
        "velocity": f"{velocity}",
    }
    separator, decimal = signs
    lines = [order, [fields[name].replace(".", decimal) for name in order]]
    labels = read(tmp_path_factory.mktemp("n"), "\n".join(map(separator.join, lines)))
    assert labels.intervals.tolist() == [[float(fields["onset"]), float(fields["offset"])]]
    assert (labels.pitches.tolist(), labels.velocities.tolist()) == ([pitch], [velocity])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text('0159.,;-\t \n"#aeonst', max_size=80).map(str.encode))
def test_anything_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    try:
        labels = read(tmp_path_factory.mktemp("n"), content)
    except ValueError as error:
        assert "notes.txt" in str(error)
    else:
        assert ((labels.pitches >= -1) & (labels.pitches <= 127)).all()
        assert labels.tracks is None or (labels.tracks[labels.pitches < 0] != "").all()
        assert (labels.intervals[:, 0] <= labels.intervals[:, 1]).all()
