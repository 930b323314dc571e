"""What may go wrong around a result: names, pictures, streams, folders, other processes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pretty_midi
import pytest
import soundfile
from fresh import run as in_new_interpreter
from tiny import dictionary, recording

import dds_fast
from dds_fast import Decomposition, results
from dds_fast.command import files
from dds_fast.command.main import main
from dds_fast.locks import CLAIM, claimed

RUN = "import sys; from dds_fast.command.main import main; sys.exit(main(sys.argv[1:]))"


def decompose(*arguments: object) -> int:
    return main(["decompose", *map(str, arguments)])


def folders_of(folder: Path) -> list[tuple[Path, str]]:
    """Two folders with a file name each that differ by case."""
    return [(folder / "one", "a.wav"), (folder / "other", "A.wav")]


def never(*arguments: Any, **options: Any) -> None:
    raise AssertionError("worked before it looked")


class TestFailures:
    def test_a_search_that_is_not_finite(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        model, out = tmp_path / "m.safetensors", tmp_path / "out"
        dictionary("dds2").save(model)
        arguments = [recording(tmp_path / "a.wav"), "-d", model, "-o", out, "--max-steps", 20]
        assert decompose(*arguments, "--step-size", 1e38) == 1
        assert "no longer finite" in capsys.readouterr().err
        assert list(out.iterdir()) == []

    def test_an_earlier_one_is_not_kept(
        self, tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path, out = recording(tmp_path / "a.wav"), tmp_path / "out"
        assert decompose(path, "-d", model, "-o", out) == 0
        saved = out / "a" / results.ACTIVATIONS
        lost = replace(Decomposition.load(saved), stop_reason="non-finite")
        lost.save(saved, overwrite=True)
        assert decompose(path, "-d", model, "-o", out, "--skip-existing") == 0
        assert Decomposition.load(saved).stop_reason == "max_steps"

    def test_any_error_is_one_recording_s(
        self, tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def decomposed(path: Path, *arguments: Any, **options: Any) -> Any:
            if path.stem == "a":
                raise KeyError("what a strange file makes of a reader")
            return dds_fast.decompose(path, *arguments, **options)

        monkeypatch.setattr(files, "decompose", decomposed)
        paths = [recording(tmp_path / f"{name}.wav") for name in "ab"]
        assert decompose(*paths, "-d", model, "-o", tmp_path / "out") == 1
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["b"]

    def test_separate_fails_too(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        model = tmp_path / "m.safetensors"
        dictionary("dds2", search={"dds2": {"step_size": 1e38}}).save(model)
        path, out = recording(tmp_path / "a.wav"), tmp_path / "out"
        assert main(["separate", path, "-d", str(model), "-o", str(out)]) == 1
        assert "no longer finite" in capsys.readouterr().err


class TestPictures:
    @pytest.mark.parametrize("name", ["Ba$$in", "cash_$_$100", "x$y^$", r"$\frac$"])
    def test_names_are_no_formulas(self, tmp_path: Path, name: str) -> None:
        model, out = tmp_path / "m.safetensors", tmp_path / "out"
        dictionary("nmf", ("$x^$", "a$", "$$")).save(model)
        path = recording(tmp_path / f"{name}.wav")
        assert decompose(path, "-d", model, "-o", out, "--max-steps", 1) == 0
        assert (out / name / "activations.png").is_file()

    def test_a_picture_that_cannot_be_drawn(
        self, tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*arguments: Any, **options: Any) -> None:
            raise ZeroDivisionError("what a plot may come to")

        path, out = recording(tmp_path / "a.wav"), tmp_path / "out"
        assert decompose(path, "-d", model, "-o", out) == 0
        monkeypatch.setattr("dds_fast.plots.piano_roll", fail)
        assert decompose(path, "-d", model, "-o", out, "--overwrite") == 0
        assert not (out / "a" / "activations.png").exists()
        monkeypatch.setattr(files, "decompose", never)
        assert decompose(path, "-d", model, "-o", out, "--skip-existing") == 0

    @pytest.mark.parametrize("backend", ["nonsense", "module://not.installed"])
    def test_a_backend_of_somebody_else(self, tmp_path: Path, model: str, backend: str) -> None:
        path, out = recording(tmp_path / "a.wav"), tmp_path / "out"
        arguments = ["dds-fast", "decompose", path, "-d", model, "-o", str(out)]
        code = f"import sys; sys.argv = {arguments}; {RUN}"
        result = in_new_interpreter(code, MPLBACKEND=backend)
        assert result.returncode == 0, result.stderr
        assert (out / "a" / "activations.png").is_file()


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full", "2>&- 0<&-"])
def test_standard_error_does_not_matter(tmp_path: Path, model: str, stderr: str) -> None:
    paths = [recording(tmp_path / f"{name}.wav") for name in "ab"]
    Path(paths[0]).write_text("these are not samples")  # there is something to say
    arguments = [sys.executable, "-c", RUN, "decompose", *paths, "-d", model, "-o", tmp_path / "o"]
    shell = ["sh", "-c", f'exec "$@" {stderr}', "sh", *map(str, arguments)]
    result = subprocess.run(shell, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (1, "")
    assert Decomposition.load(tmp_path / "o" / "b" / results.ACTIVATIONS).n_steps == 3
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["b"]


class TestPlaces:
    @pytest.mark.parametrize("command", ["decompose", "separate"])
    def test_out_is_a_file(
        self,
        tmp_path: Path,
        model: str,
        command: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        (tmp_path / "out").touch()
        monkeypatch.setattr(files, "decompose", never)
        monkeypatch.setattr(sys.modules["dds_fast.separate"], "decompose", never)
        for out in (tmp_path / "out", tmp_path / "out" / "below"):
            path = recording(tmp_path / "a.wav")
            assert main([command, path, "-d", model, "-o", str(out)]) == 1
            assert f"{tmp_path / 'out'}" in capsys.readouterr().err

    def test_a_result_s_folder_is_a_file(
        self, tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "b").touch()
        paths = [recording(tmp_path / f"{name}.wav") for name in "ab"]
        assert decompose(*paths, "-d", model, "-o", tmp_path / "out") == 1
        assert f"{tmp_path / 'out' / 'b'} is a file" in capsys.readouterr().err
        assert not (tmp_path / "out" / "a").exists()

    @pytest.mark.parametrize(("name", "folder"), [("...wav", "__"), ("..wav", "_")])
    def test_dots(self, tmp_path: Path, model: str, name: str, folder: str) -> None:
        soundfile.write(tmp_path / name, np.sin(np.arange(4800) * 0.1), 16000, format="WAV")
        out = tmp_path / "x" / "out"
        assert decompose(tmp_path / name, "-d", model, "-o", out) == 0
        assert [path.name for path in out.iterdir()] == [folder]
        assert [path.name for path in out.parent.iterdir()] == ["out"]

    def test_dots_may_collide(
        self, tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        paths = [tmp_path / "...wav", tmp_path / "__.wav"]
        for path in paths:
            soundfile.write(path, np.zeros(4800), 16000, format="WAV")
        assert decompose(*paths, "-d", model, "-o", tmp_path / "out") == 1
        assert "would both be written" in capsys.readouterr().err

    def test_a_name_of_the_longest_kind(self, tmp_path: Path, model: str) -> None:
        path = recording(tmp_path / f"{'é' * 125}.wav")
        assert decompose(path, "-d", model, "-o", tmp_path / "out") == 0
        assert (tmp_path / "out" / ("é" * 125) / "notes.mid").is_file()

    def test_the_midi_of_pitches_does_not_outlast_its_result(
        self, tmp_path: Path, model: str
    ) -> None:
        path, out, drums = recording(tmp_path / "a.wav"), tmp_path / "out", tmp_path / "drums"
        dictionary("nmf", ("kick", "snare", "hat")).save(drums)
        assert decompose(path, "-d", model, "-o", out) == 0
        assert decompose(path, "-d", drums, "-o", out, "--overwrite", "--max-steps", 1) == 0
        made = pretty_midi.PrettyMIDI(str(out / "a" / "notes.mid"))
        assert all(track.is_drum for track in made.instruments)

    def test_names_that_differ_by_case_alone(
        self,
        tmp_path: Path,
        model: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        paths = [recording(folder / name) for folder, name in folders_of(tmp_path)]
        arguments = [*paths, "-d", model, "-o", tmp_path / "out"]
        monkeypatch.setattr("dds_fast.files.ignores_case", lambda folder: True)
        monkeypatch.setattr(files, "decompose", never)
        assert decompose(*arguments) == 1
        assert "ignores case" in capsys.readouterr().err
        monkeypatch.undo()
        assert decompose(*arguments) == 0
        assert {path.name for path in (tmp_path / "out").iterdir()} == {"a", "A"}

    @pytest.mark.parametrize(
        ("command", "option", "worker"),
        [
            (["evaluate", "OUT", "LABELS"], "--json", "dds_fast.command.evaluate.evaluate"),
            (["inspect", "MODEL", "NOTES"], "-o", "dds_fast.dictionary.load"),
            (["plot", "RESULT"], "-o", "dds_fast.decomposition.Decomposition.load"),
        ],
    )
    def test_files_that_cannot_be_written_are_told_before_the_work(
        self,
        tmp_path: Path,
        command: list[str],
        option: str,
        worker: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(worker, never)
        (tmp_path / "file").touch()
        assert main([*command, option, str(tmp_path / "file" / "below")]) == 1
        assert str(tmp_path / "file") in capsys.readouterr().err
        folder = tmp_path / "folder"
        existing = folder / "report.json" if command[0] == "inspect" else folder / "scores"
        folder.mkdir()
        existing.touch()
        target = folder if command[0] == "inspect" else existing
        assert main([*command, option, str(target)]) == 1
        assert "--overwrite" in capsys.readouterr().err


class TestProcesses:
    def test_what_another_works_on_is_left_to_it(
        self, tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        paths = [recording(tmp_path / f"{name}.wav") for name in "ab"]
        out = tmp_path / "out"
        with claimed(out / "a"):
            assert decompose(*paths, "-d", model, "-o", out, "--skip-existing") == 0
            assert "left to another process" in capsys.readouterr().err
            assert [path.name for path in (out / "a").iterdir()] == [CLAIM]
            assert decompose(paths[0], "-d", model, "-o", out) == 1
            assert f"another process is writing to {out / 'a'}" in capsys.readouterr().err
        assert sorted(path.name for path in out.iterdir()) == ["b"]

    def test_the_claim_of_a_killed_one_is_free(self, tmp_path: Path, model: str) -> None:
        out = tmp_path / "out"
        code = f"""
import os, signal
from pathlib import Path
from dds_fast.locks import claimed
with claimed(Path({str(out / "a")!r})):
    os.kill(os.getpid(), signal.SIGKILL)
"""
        assert in_new_interpreter(code).returncode == -9
        assert (out / "a" / CLAIM).exists()
        path = recording(tmp_path / "a.wav")
        assert decompose(path, "-d", model, "-o", out, "--skip-existing") == 0
        assert {path.name for path in (out / "a").iterdir()} == set(files.FILES)

    def test_two_share_the_work(self, tmp_path: Path, model: str) -> None:
        paths = [recording(tmp_path / f"{name}.wav") for name in "abcdef"]
        out = tmp_path / "out"
        arguments = ["decompose", *paths, "-d", model, "-o", str(out), "--skip-existing"]
        both = [
            subprocess.Popen([sys.executable, "-c", RUN, *arguments], stderr=subprocess.PIPE)
            for _ in range(2)
        ]
        said = [process.communicate()[1].decode() for process in both]
        assert [process.returncode for process in both] == [0, 0], said
        assert sum(text.count(" notes after ") for text in said) == len(paths), said
        assert all(results.is_finished(out / name) for name in "abcdef")
        assert not list(out.rglob(".*"))
