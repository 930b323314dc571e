"""``dds-fast fit``, in-process."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
from tiny import tone

import dds_fast
from dds_fast.command.main import main
from dds_fast.fit import PRESETS


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    for pitch, frequency in ((60, 261.6), (64, 329.6)):
        for take in "ab":
            path = tmp_path / "notes" / f"{pitch}_{take}.wav"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, tone(6000, frequency + (take == "b")), 16000)
    return tmp_path / "notes"


@pytest.mark.parametrize("kind", ["nmf", "dds2", "dds3"])
def test_writes_a_dictionary(
    notes: Path,
    tmp_path: Path,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tiny = replace(PRESETS["small"], sizes=dict.fromkeys(["dds2", "dds3"], lambda F: (1, 4, 1)))
    monkeypatch.setitem(PRESETS, "small", tiny)
    out = tmp_path / "fitted.safetensors"
    arguments = ["fit", str(notes), "-o", str(out), "--kind", kind, "--max-epochs", "1"]
    arguments += [] if kind == "nmf" else ["--codes", "7", "--mixtures", "4"]
    assert main(arguments) == 0
    assert str(out) in capsys.readouterr().out
    made = dds_fast.load(out)
    assert (made.kind, made.sources) == (kind, (60, 64))
    assert made.spectrogram.n_features == 512
    assert made.metadata["training"]["n_recordings"] == 4
    if kind != "nmf":
        assert made.codes.shape[:2] == (2, 7)
        assert made.metadata["calibration"][kind]["n_mixtures"] == 4
        assert main(["inspect", str(out)]) == 0
        assert "Calibration: on 4 mixtures of its own notes" in capsys.readouterr().out
        written = {path.name for path in (tmp_path / "fitted.fit").iterdir()}
        pictures = {"losses.png", "likelihoods.png", "samples.png", "codes.png"}
        assert written == {"log.csv", "report.json", *pictures}
    before = out.read_bytes()
    assert main(arguments) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_no_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["fit", str(tmp_path / "empty"), "-o", str(tmp_path / "d")]) == 1
    assert "no isolated notes" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("name", ["x.fit", "x.FIT", "folder", "file/d", "taken.safetensors"])
def test_a_place_that_cannot_be_is_refused_before_the_training(
    notes: Path,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def never(*arguments: Any, **options: Any) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr(sys.modules["dds_fast.fit"], "fit", never)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "taken.fit").touch()
    assert main(["fit", str(notes), "-o", str(tmp_path / name), "--overwrite"]) == 1
    assert str(tmp_path / name.partition("/")[0])[:-11] in capsys.readouterr().err


def test_divergence_is_a_message_not_a_traceback(
    notes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def diverge(*arguments: Any, **options: Any) -> None:
        raise FloatingPointError("the training loss is not finite; lower the learning rate")

    monkeypatch.setattr(sys.modules["dds_fast.fit"], "fit", diverge)
    assert main(["fit", str(notes), "-o", str(tmp_path / "d")]) == 1
    assert "lower the learning rate" in capsys.readouterr().err
