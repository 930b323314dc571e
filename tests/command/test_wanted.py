"""``dds-fast decompose``: folders, formats, pages, and what is refused before any work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pretty_midi
import pytest
import soundfile
from tiny import dictionary, recording

from dds_fast import Decomposition, results
from dds_fast.command import files
from dds_fast.command.main import main
from dds_fast.temporal.network import NoteNetwork


def decompose(*arguments: object) -> int:
    return main(["decompose", *map(str, arguments)])


def never(*arguments: Any, **options: Any) -> None:
    raise AssertionError("worked before it looked")


def test_folders(tmp_path: Path, model: str) -> None:
    for name in ("in/a.wav", "in/one/a.flac", "in/one/two/b.WAV", "in/.hidden.wav"):
        recording(tmp_path / name)
    (tmp_path / "in" / "notes.txt").write_text("no sound")
    out = tmp_path / "in" / "out"  # whose own sound is no input
    recording(out / "stem.wav")
    assert decompose(tmp_path / "in", "-d", model, "-o", out) == 0
    found = sorted(path.parent.relative_to(out) for path in out.rglob(results.ACTIVATIONS))
    assert [str(place) for place in found] == ["a", "one/a", "one/two/b"]
    labels = tmp_path / "labels"
    for place in found:
        (labels / place.parent).mkdir(parents=True, exist_ok=True)
        (labels / place.with_suffix(".txt")).write_text("0 0.3 60")
    assert main(["evaluate", str(out), str(labels)]) == 0


def test_a_folder_without_sound(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    assert decompose(tmp_path / "in", "-d", model, "-o", tmp_path / "out") == 1
    assert "no audio file in" in capsys.readouterr().err


def test_formats_page_and_instrument(tmp_path: Path, model: str) -> None:
    out = tmp_path / "out"
    options = "--formats jams,txt,svl --sonify --tempo 90 --program Violin --page"
    arguments = [recording(tmp_path / "a.wav"), "-d", model, "-o", out]
    assert decompose(*arguments, *options.split()) == 0
    more = {"notes.jams", "notes.txt", "notes.svl", "notes.wav", "page.html"}
    assert {path.name for path in (out / "a").iterdir()} == {*results.FILES, *more}
    midi = pretty_midi.PrettyMIDI(str(out / "a" / "notes.mid"))
    assert midi.get_tempo_changes()[1] == pytest.approx([90], rel=1e-5)
    assert all(instrument.program == 40 for instrument in midi.instruments)
    assert soundfile.info(out / "a" / "notes.wav").channels == 2
    assert 'content="dds-fast separate"' in (out / "a" / "page.html").read_text()
    (out / "a" / "notes.svl").unlink()
    assert decompose(*arguments, "--skip-existing", "--formats", "svl") == 0
    assert (out / "a" / "notes.svl").is_file()
    assert decompose(*arguments, "--formats", "svl") == 1


def test_sensitivity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    notes = Decomposition.notes

    def noted(result: Decomposition, **options: Any) -> Any:
        asked.append(options.get("sensitivity"))
        return notes(result)

    monkeypatch.setattr(Decomposition, "notes", noted)
    made = dictionary("nmf")
    made.temporal = NoteNetwork()
    made.save(tmp_path / "m.safetensors")
    arguments = [recording(tmp_path / "a.wav"), "-d", tmp_path / "m.safetensors"]
    assert decompose(*arguments, "-o", tmp_path / "out", "--max-steps", 1, "--sensitivity", 1) == 0
    assert set(asked) == {1.0}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--backend nonsense", "search has no backend 'nonsense'"),
        ("--device cuda:7", "torch sees no CUDA device"),
        ("--max-steps -1", "max_steps must be at least"),
        ("--penalty nan", "penalty must be finite"),
        ("--components 0", "n_components must be at least 1"),
        ("--tuning 900", "tuning must be"),
        ("--precision float64 --backend cpu", "with float32 tensors, not in float64"),
        ("--sensitivity 1", "--sensitivity is for calibrated dictionaries"),
        ("--tempo 0", "tempo must be finite and positive"),
        ("--program Theremin", "General MIDI has no instrument 'Theremin'"),
    ],
)
def test_wrong_options_are_said_once_before_any_work(
    tmp_path: Path,
    model: str,
    option: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(files, "decompose", never)
    paths = [recording(tmp_path / f"{name}.wav") for name in "ab"]
    assert decompose(*paths, "-d", model, "-o", tmp_path / "out", *option.split()) == 1
    said = capsys.readouterr().err
    assert said.count(message) == 1 and len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_unknown_format(tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        decompose("a.wav", "-d", model, "-o", tmp_path, "--formats", "jams,pdf")
    assert "'pdf' is none of jams, txt, svl" in capsys.readouterr().err


def test_few_lines_without_a_terminal(tmp_path: Path, model: str) -> None:
    arguments = [recording(tmp_path / "a.wav"), "-d", model, "-o", str(tmp_path / "out")]
    command = [sys.executable, "-m", "dds_fast", "decompose", *arguments, "--max-steps", "200"]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == 0
    assert len(done.stdout.replace(b"\r", b"\n").splitlines()) == 0
    assert len(done.stderr.replace(b"\r", b"\n").splitlines()) <= 5
