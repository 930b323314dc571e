"""``dds-fast evaluate``, in-process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
from tiny import CONFIG, recording

from dds_fast import Decomposition, audio
from dds_fast.command.main import main


@pytest.fixture
def results(tmp_path: Path, model: str) -> Path:
    paths = [recording(tmp_path / f"{name}.wav") for name in "ab"]
    assert main(["decompose", *paths, "-d", model, "-o", str(tmp_path / "out")]) == 0
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "a.txt").write_text("onset\toffset\tpitch\n0.0\t0.3\t60\n")
    midi = pretty_midi.PrettyMIDI()
    midi.instruments.append(pretty_midi.Instrument(0))
    midi.instruments[0].notes.append(pretty_midi.Note(64, 64, 0.0, 0.2))
    midi.write(str(labels / "b.mid"))
    return tmp_path / "out"


def test_table_and_json(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "scores.json"
    arguments = [str(results), str(tmp_path / "labels"), "--json", str(target)]
    capsys.readouterr()
    assert main(["evaluate", *arguments, "--label-delay", "0.02"]) == 0
    header, *rows, delay = capsys.readouterr().out.splitlines()
    assert header.split()[:2] == ["recording", "psa"]
    assert [row.split()[0] for row in rows] == ["a", "b", "mean"]
    assert delay == "label delay 0.02 s"
    record = json.loads(target.read_text())
    assert record["label_delay"] == 0.02
    psa = [record["scores"][stem]["psa"] for stem in "ab"]
    assert [row.split()[1] for row in rows] == [f"{value:.3f}" for value in (*psa, sum(psa) / 2)]
    assert main(["evaluate", *arguments]) == 1
    assert json.loads(target.read_text()) == record
    assert main(["evaluate", *arguments, "--overwrite"]) == 0
    assert json.loads(target.read_text())["label_delay"] == 0


def test_one_label_file_for_one_result(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label = str(tmp_path / "labels" / "a.txt")
    assert main(["evaluate", str(results / "a"), label]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[0] == "a"
    assert main(["evaluate", str(results), label]) == 1
    assert "2 results" in capsys.readouterr().err


def test_reconstructions(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", str(results), str(tmp_path / "labels"), "--recordings"]
    assert main([*arguments, str(tmp_path), "--json", str(tmp_path / "s.json")]) == 0
    assert capsys.readouterr().out.splitlines()[0].split()[-3:] == ["RE", "rel.", "error"]
    scores = json.loads((tmp_path / "s.json").read_text())["scores"]
    for stem in "ab":
        result = Decomposition.load(results / stem / "activations.npz")
        wave = result.gain * audio.load(tmp_path / f"{stem}.wav", 16000)
        X = audio.spectrogram(wave, CONFIG).values
        error = np.linalg.norm(X - result.reconstruction()) / np.linalg.norm(X)
        assert scores[stem]["relative_error"] == pytest.approx(error, rel=1e-5)
    (tmp_path / "b.wav").unlink()
    assert main([*arguments, str(tmp_path)]) == 1
    assert "no recording for b" in capsys.readouterr().err


def test_missing_labels_and_results(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels" / "b.mid").unlink()
    assert main(["evaluate", str(results), str(tmp_path / "labels")]) == 1
    assert "no labels for b" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path / "empty"), str(tmp_path / "labels")]) == 1
    assert "empty" in capsys.readouterr().err


def test_suffixes_in_capitals(results: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    for path in list(labels.iterdir()):
        path.rename(labels / f"{path.stem}{path.suffix.upper()}")
    assert main(["evaluate", str(results), str(labels)]) == 0
