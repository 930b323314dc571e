"""Printed scores: MusicXML, MXL and MEI."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dds_fast.notes.score import load_labels

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<score-partwise version="3.1"><part-list>
<score-part id="P1"><part-name>Piano</part-name></score-part>
<score-part id="P2"><part-name>Flute</part-name></score-part></part-list>"""
ATTRIBUTES = """<attributes><divisions>2</divisions>
<time><beats>2</beats><beat-type>4</beat-type></time>
{staves}<clef><sign>G</sign><line>2</line></clef></attributes>"""


def note(step: str, octave: int, duration: int, more: str = "", staff: int = 1) -> str:
    pitch = f"<pitch><step>{step}</step><octave>{octave}</octave></pitch>"
    tied = "".join(f'<tie type="{kind}"/>' for kind in ("stop", "start") if kind in more)
    return (
        f"<note>{pitch}<duration>{duration}</duration>{tied}<voice>{staff}</voice>"
        f"<staff>{staff}</staff></note>"
    )


PIANO = f"""<part id="P1"><measure number="1">{ATTRIBUTES.format(staves="<staves>2</staves>")}
<direction><direction-type><words>.</words></direction-type><sound tempo="60"/></direction>
{note("C", 5, 2)}{note("D", 5, 2, "start")}<backup><duration>4</duration></backup>
{note("C", 3, 4, staff=2)}</measure>
<measure number="2"><direction><direction-type><words>.</words></direction-type><sound tempo="120"/>
</direction>{note("D", 5, 2, "stop")}{note("E", 5, 2)}
<barline location="right"><repeat direction="backward"/></barline></measure></part>"""
FLUTE = f"""<part id="P2"><measure number="1">{ATTRIBUTES.format(staves="")}{note("G", 5, 4)}
</measure><measure number="2">{note("A", 5, 4)}
<barline location="right"><repeat direction="backward"/></barline></measure></part>"""
XML = f"{HEAD}{PIANO}{FLUTE}</score-partwise>"


@pytest.fixture(params=[".musicxml", ".xml", ".mxl"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    pytest.importorskip("partitura")
    path = tmp_path / f"score{request.param}"
    if request.param == ".mxl":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(
                "META-INF/container.xml",
                '<?xml version="1.0"?><container><rootfiles><rootfile full-path="score.xml"/>'
                "</rootfiles></container>",
            )
            archive.writestr("score.xml", XML)
    else:
        path.write_text(XML)
    return path


def test_notes_tempi_ties_and_staves(path: Path) -> None:
    labels = load_labels(path)
    first = labels.select(labels.intervals[:, 0] < 2.9)
    assert first.tracks is not None
    found = {
        (int(pitch), str(track)): interval.tolist()
        for pitch, track, interval in zip(first.pitches, first.tracks, first.intervals, strict=True)
    }
    # A bar at 60 quarters a minute, one at 120; D is tied over the line between them.
    assert found == {
        (72, "Piano, staff 1"): [0, 1],
        (74, "Piano, staff 1"): [1, 2.5],
        (76, "Piano, staff 1"): [2.5, 3],
        (48, "Piano, staff 2"): [0, 2],
        (79, "Flute"): [0, 2],
        (81, "Flute"): [2, 3],
    }


def test_repeats_are_played(path: Path) -> None:
    labels = load_labels(path)
    assert len(labels) == 12
    np.testing.assert_allclose(labels.intervals[6:], labels.intervals[:6] + 3)


def test_mei() -> None:
    partitura = pytest.importorskip("partitura")
    labels = load_labels(partitura.EXAMPLE_MEI)
    assert labels.intervals.tolist() == [[0, 2], [1, 2], [1, 2]]
    assert labels.pitches.tolist() == [69, 72, 76]
    assert labels.tracks is not None and set(labels.tracks) == {"part 1", "part 2"}


@pytest.mark.parametrize("suffix", [".musicxml", ".mxl", ".mei", ".xml"])
def test_files_that_are_none(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("partitura")
    path = tmp_path / f"score{suffix}"
    path.write_text("0 1 60")
    with pytest.raises(ValueError, match=r"score\.\w+ is not a readable score"):
        load_labels(path)


def test_partitura_is_missed_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "partitura", None)
    (tmp_path / "score.musicxml").write_text(XML)
    with pytest.raises(ImportError, match=r"pip install 'dds-fast\[scores\]'"):
        load_labels(tmp_path / "score.musicxml")
