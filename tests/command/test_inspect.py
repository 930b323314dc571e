"""``dds-fast inspect``, in-process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
import torch
from tiny import dictionary, tone

from dds_fast.command.main import main


def test_what_a_dictionary_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = dictionary(
        "dds3",
        search={"dds3": {"max_steps": 77}},
        training={"best_epoch": 12, "history": [{"epoch": 1}]},
    )
    made.save(tmp_path / "d.safetensors")
    assert main(["inspect", str(tmp_path / "d.safetensors")]) == 0
    out = capsys.readouterr().out
    for text in ("kind='dds3'", "3 sources 60..67", "n_fft=128", "max_steps=77", "best_epoch"):
        assert text in out
    assert "history" not in out
    assert "not calibrated" in out


@pytest.mark.parametrize(
    ("kind", "codes", "line"),
    [
        ("nmf", None, "Codes: none, searches begin at the frames themselves"),
        ("dds3", None, "Codes: none stored, searches begin at draws of the flow"),
        ("dds3", torch.full((3, 8, 61), 0.5), "Codes: 8 per source, root mean square 0.50"),
    ],
)
def test_shows_the_codes(
    tmp_path: Path,
    kind: str,
    codes: torch.Tensor | None,
    line: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = dictionary(kind)
    made.codes = codes
    made.save(tmp_path / "d")
    assert main(["inspect", str(tmp_path / "d")]) == 0
    assert line in capsys.readouterr().out


def test_shows_when_a_note_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dictionary("dds3", detection={"dds3": {"upper": 0.5, "lower": 0.25}}).save(tmp_path / "d")
    assert main(["inspect", str(tmp_path / "d")]) == 0
    assert "Detection(upper=0.5, lower=0.25, min_duration=0.1" in capsys.readouterr().out


def test_a_foreign_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "d").write_text("hello")
    assert main(["inspect", str(tmp_path / "d")]) == 1
    assert "not a readable dictionary" in capsys.readouterr().err


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    for pitch, frequency in ((60, 261.6), (64, 329.6), (90, 1480.0)):
        path = tmp_path / "notes" / f"{pitch}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, tone(3200, frequency), 16000)
    return tmp_path / "notes"


def test_reports_on_the_notes_it_knows(
    notes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dictionary("dds2").save(tmp_path / "d")
    out = tmp_path / "report"
    assert main(["inspect", str(tmp_path / "d"), str(notes), "-o", str(out)]) == 0
    assert "bits_per_dim" in capsys.readouterr().out
    assert set(json.loads((out / "report.json").read_text())["sources"]) == {"60", "64"}
    assert main(["inspect", str(tmp_path / "d"), str(notes), "-o", str(out)]) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_a_report_needs_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dictionary("dds2").save(tmp_path / "d")
    assert main(["inspect", str(tmp_path / "d"), "-o", str(tmp_path / "report")]) == 1
    assert "DATA" in capsys.readouterr().err
