"""``dds-fast decompose``, in-process."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pretty_midi
import pytest
import soundfile
from tiny import dictionary, recording, tone

import dds_fast
from dds_fast import Decomposition
from dds_fast.command import files
from dds_fast.command.main import main

FILES = {"activations.npz", "notes.csv", "notes.mid", "activations.png"}


def decompose(*arguments: object) -> int:
    return main(["decompose", *map(str, arguments)])


def test_writes_the_four_files(tmp_path: Path, model: str) -> None:
    out = tmp_path / "out"
    assert decompose(recording(tmp_path / "a.wav"), "-d", model, "-o", out) == 0
    assert {path.name for path in (out / "a").iterdir()} == FILES
    result = Decomposition.load(out / "a" / "activations.npz")
    assert result.n_steps == 3
    assert result.activations.shape == (len(result.labels), 76)
    with (out / "a" / "notes.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["start_time_s", "end_time_s", "pitch_midi", "velocity"]
    assert len(rows) - 1 == len(result.notes())
    midi = pretty_midi.PrettyMIDI(str(out / "a" / "notes.mid"))
    assert sum(len(i.notes) for i in midi.instruments) == len(result.notes())
    assert (out / "a" / "activations.png").read_bytes()[:4] == b"\x89PNG"


def test_options_reach_the_search(tmp_path: Path, model: str) -> None:
    out = tmp_path / "out"
    options = "--components 1 --max-steps 2 --step-size 0.5 --penalty 0.25 --seed 7"
    options += " --likelihood data --precision float64 --backend reference --device cpu"
    status = decompose(recording(tmp_path / "a.wav"), "-d", model, "-o", out, *options.split())
    assert status == 0
    settings = Decomposition.load(out / "a" / "activations.npz").settings
    expected = {
        "n_components": 1,
        "max_steps": 2,
        "step_size": 0.5,
        "penalty": 0.25,
        "random_state": 7,
        "likelihood": "data",
        "precision": "float64",
    }
    assert expected.items() <= settings.items()


def test_tuning_and_level_are_reported(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = recording(tmp_path / "a.wav"), tmp_path / "out"
    soundfile.write(tmp_path / "b.wav", 0.7 / 100 * tone(4800) / 0.47, 16000, subtype="FLOAT")
    options = ["-d", model, "-o", out, "--tuning"]
    assert decompose(path, *options, "-31.8") == 0
    message = capsys.readouterr().err
    assert "tuned -31.8 cents from A = 440 Hz" in message
    assert "raised" not in message
    assert Decomposition.load(out / "a" / "activations.npz").tuning == -31.8
    assert decompose(tmp_path / "b.wav", *options, "auto") == 0
    assert "raised by 40 dB" in capsys.readouterr().err
    assert abs(Decomposition.load(out / "b" / "activations.npz").tuning) < 3


@pytest.mark.parametrize("options", ["--tuning baroque", "--preset slow"])
def test_unknown_values(tmp_path: Path, model: str, options: str) -> None:
    with pytest.raises(SystemExit) as raised:
        decompose("a.wav", "-d", model, "-o", tmp_path, *options.split())
    assert raised.value.code == 2


def test_drums_by_name_and_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = tmp_path / "drums.safetensors", tmp_path / "out"
    dictionary("nmf", ("kick", "snare", "hat")).save(model)
    path = recording(tmp_path / "a.wav")
    arguments = [path, "-d", model, "-o", out, "--max-steps", 1, "--midi"]
    assert decompose(*arguments, "drum=36") == 1
    assert "'drum' is no source; there are kick, snare, hat" in capsys.readouterr().err
    assert not out.exists()
    (tmp_path / "midi.json").write_text('{"kick": 35, "hat": "Open Hi Hat"}')
    assert decompose(*arguments, tmp_path / "midi.json") == 0
    assert {path.name for path in (out / "a").iterdir()} == FILES
    midi = pretty_midi.PrettyMIDI(str(out / "a" / "notes.mid"))
    notes = {track.name: {note.pitch for note in track.notes} for track in midi.instruments}
    assert notes == {"kick": {35}, "snare": {38}, "hat": {46}}
    capsys.readouterr()
    mapping = ["--midi", "kick=35,hat=46"]
    assert main(["evaluate", str(out / "a"), str(out / "a" / "notes.mid"), *mapping]) == 0
    header, row, _ = capsys.readouterr().out.splitlines()
    assert header.split()[-2:] == ["note", "F1"] and row.split()[-1] == "1.000"


def test_refuses_to_overwrite(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out, path = tmp_path / "out", recording(tmp_path / "a.wav")
    assert decompose(path, "-d", model, "-o", out) == 0
    before = {f: f.stat().st_mtime_ns for f in (out / "a").iterdir()}
    assert decompose(path, "-d", model, "-o", out) == 1
    message = capsys.readouterr().err
    assert "exists" in message
    assert "--overwrite" in message
    assert "--skip-existing" in message
    assert {f: f.stat().st_mtime_ns for f in (out / "a").iterdir()} == before


def test_overwrite(tmp_path: Path, model: str) -> None:
    out, path = tmp_path / "out", recording(tmp_path / "a.wav")
    assert decompose(path, "-d", model, "-o", out) == 0
    assert decompose(path, "-d", model, "-o", out, "--overwrite", "--max-steps", 1) == 0
    assert Decomposition.load(out / "a" / "activations.npz").n_steps == 1
    assert {path.name for path in (out / "a").iterdir()} == FILES


@pytest.mark.parametrize("sources", [(60, 64, 67), ("kick", "snare", "hat")], ids=str)
def test_skip_existing(tmp_path: Path, sources: tuple) -> None:
    out, model = tmp_path / "out", tmp_path / "m.safetensors"
    dictionary("nmf", sources, search={"nmf": {"max_steps": 1}}).save(model)
    first, second = recording(tmp_path / "a.wav"), recording(tmp_path / "b.wav")
    assert decompose(first, "-d", model, "-o", out) == 0
    before = {f: f.stat().st_mtime_ns for f in (out / "a").iterdir()}
    assert decompose(first, second, "-d", model, "-o", out, "--skip-existing") == 0
    assert {f: f.stat().st_mtime_ns for f in (out / "a").iterdir()} == before
    assert (out / "b" / "activations.npz").exists()


def test_skip_existing_finishes_half_written_folders(tmp_path: Path, model: str) -> None:
    out, path = tmp_path / "out", recording(tmp_path / "a.wav")
    assert decompose(path, "-d", model, "-o", out) == 0
    (out / "a" / "notes.csv").unlink()
    assert decompose(path, "-d", model, "-o", out, "--skip-existing") == 0
    assert {path.name for path in (out / "a").iterdir()} == FILES


def test_both_options_at_once(tmp_path: Path, model: str) -> None:
    with pytest.raises(SystemExit) as raised:
        decompose("a.wav", "-d", model, "-o", tmp_path, "--overwrite", "--skip-existing")
    assert raised.value.code == 2


def test_equal_stems_are_an_error_before_any_work(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [recording(tmp_path / name) for name in ("x/a.wav", "b.wav", "y/a.flac")]
    assert decompose(*paths, "-d", model, "-o", tmp_path / "out") == 1
    message = capsys.readouterr().err
    assert paths[0] in message
    assert paths[2] in message
    assert not (tmp_path / "out").exists()


def test_a_missing_input_is_an_error_before_any_work(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good = recording(tmp_path / "a.wav")
    assert decompose(good, tmp_path / "gone.wav", "-d", model, "-o", tmp_path / "out") == 1
    assert "gone.wav" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_missing_dictionary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recording(tmp_path / "a.wav")
    assert decompose(path, "-d", tmp_path / "gone", "-o", tmp_path / "out") == 1
    assert "no such dictionary file" in capsys.readouterr().err


def test_a_bad_recording_does_not_stop_the_others(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [recording(tmp_path / f"{name}.wav") for name in "abc"]
    Path(paths[1]).write_text("these are not samples")
    out = tmp_path / "out"
    assert decompose(*paths, "-d", model, "-o", out) == 1
    message = capsys.readouterr().err
    assert "b.wav is not a readable audio file" in message
    assert "1 of 3 recordings failed" in message
    assert sorted(path.name for path in out.iterdir()) == ["a", "c"]


def test_silence(tmp_path: Path, model: str) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(4800), 16000)
    out = tmp_path / "out"
    assert decompose(tmp_path / "a.wav", "-d", model, "-o", out) == 0
    assert Decomposition.load(out / "a" / "activations.npz").stop_reason == "silent"
    assert {path.name for path in (out / "a").iterdir()} == FILES


def test_interruption_saves_what_was_reached(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(report: dict[str, Any]) -> None:
        if report["step"] == 2:
            raise KeyboardInterrupt

    def interrupted(*arguments: Any, **options: Any) -> Any:
        return dds_fast.decompose(*arguments, **options, callback=interrupt)

    monkeypatch.setattr(files, "decompose", interrupted)
    paths = [recording(tmp_path / f"{name}.wav") for name in "ab"]
    out = tmp_path / "out"
    assert decompose(*paths, "-d", model, "-o", out) == 130
    result = Decomposition.load(out / "a" / "activations.npz")
    assert (result.stop_reason, result.n_steps) == ("interrupted", 2)
    assert {path.name for path in (out / "a").iterdir()} == FILES
    assert not (out / "b").exists()


def test_an_interrupted_recording_is_not_skipped_as_finished(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(report: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    def interrupted(*arguments: Any, **options: Any) -> Any:
        return dds_fast.decompose(*arguments, **options, callback=interrupt)

    path, out = recording(tmp_path / "a.wav"), tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(files, "decompose", interrupted)
        assert decompose(path, "-d", model, "-o", out) == 130
    assert decompose(path, "-d", model, "-o", out, "--skip-existing") == 0
    assert Decomposition.load(out / "a" / "activations.npz").stop_reason == "max_steps"


def test_interruption_elsewhere(
    tmp_path: Path,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "decompose", interrupted)
    path = recording(tmp_path / "a.wav")
    assert decompose(path, "-d", model, "-o", tmp_path / "out") == 130
    assert "interrupted" in capsys.readouterr().err
