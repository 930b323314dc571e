"""The command line, in-process."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pretty_midi
import pytest
import soundfile
import torch
from tiny import dictionary, tone

import dds_fast
from dds_fast import Decomposition
from dds_fast.command import files
from dds_fast.command import main as cli
from dds_fast.command.main import main

matplotlib.use("Agg")
FILES = {"activations.npz", "notes.csv", "notes.mid", "activations.png"}


@pytest.fixture(autouse=True)
def quiet_warnings() -> Iterator[None]:
    """`main` sends warnings to the log; later tests want them back."""
    yield
    logging.captureWarnings(False)


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.safetensors"
    dictionary("dds3", search={"dds3": {"max_steps": 3, "n_components": 2}}).save(path)
    return str(path)


def recording(path: Path, frequency: float = 262.0) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(4800, frequency), 16000)
    return str(path)


def decompose(*arguments: object) -> int:
    return main(["decompose", *map(str, arguments)])


class TestDecompose:
    def test_writes_the_four_files(self, tmp_path: Path, model: str) -> None:
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

    def test_options_reach_the_search(self, tmp_path: Path, model: str) -> None:
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
        self, tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
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
    def test_unknown_values(self, tmp_path: Path, model: str, options: str) -> None:
        with pytest.raises(SystemExit) as raised:
            decompose("a.wav", "-d", model, "-o", tmp_path, *options.split())
        assert raised.value.code == 2

    def test_named_sources_get_no_midi_file(self, tmp_path: Path) -> None:
        model, out = tmp_path / "drums.safetensors", tmp_path / "out"
        dictionary("nmf", ("kick", "snare", "hat")).save(model)
        path = recording(tmp_path / "a.wav")
        assert decompose(path, "-d", model, "-o", out, "--max-steps", 1) == 0
        assert {path.name for path in (out / "a").iterdir()} == FILES - {"notes.mid"}

    def test_refuses_to_overwrite(
        self, tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
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

    def test_overwrite(self, tmp_path: Path, model: str) -> None:
        out, path = tmp_path / "out", recording(tmp_path / "a.wav")
        assert decompose(path, "-d", model, "-o", out) == 0
        assert decompose(path, "-d", model, "-o", out, "--overwrite", "--max-steps", 1) == 0
        assert Decomposition.load(out / "a" / "activations.npz").n_steps == 1
        assert {path.name for path in (out / "a").iterdir()} == FILES

    @pytest.mark.parametrize("sources", [(60, 64, 67), ("kick", "snare", "hat")], ids=str)
    def test_skip_existing(self, tmp_path: Path, sources: tuple) -> None:
        out, model = tmp_path / "out", tmp_path / "m.safetensors"
        dictionary("nmf", sources, search={"nmf": {"max_steps": 1}}).save(model)
        first, second = recording(tmp_path / "a.wav"), recording(tmp_path / "b.wav")
        assert decompose(first, "-d", model, "-o", out) == 0
        before = {f: f.stat().st_mtime_ns for f in (out / "a").iterdir()}
        assert decompose(first, second, "-d", model, "-o", out, "--skip-existing") == 0
        assert {f: f.stat().st_mtime_ns for f in (out / "a").iterdir()} == before
        assert (out / "b" / "activations.npz").exists()

    def test_skip_existing_finishes_half_written_folders(self, tmp_path: Path, model: str) -> None:
        out, path = tmp_path / "out", recording(tmp_path / "a.wav")
        assert decompose(path, "-d", model, "-o", out) == 0
        (out / "a" / "notes.csv").unlink()
        assert decompose(path, "-d", model, "-o", out, "--skip-existing") == 0
        assert {path.name for path in (out / "a").iterdir()} == FILES

    def test_both_options_at_once(self, tmp_path: Path, model: str) -> None:
        with pytest.raises(SystemExit) as raised:
            decompose("a.wav", "-d", model, "-o", tmp_path, "--overwrite", "--skip-existing")
        assert raised.value.code == 2

    def test_equal_stems_are_an_error_before_any_work(
        self, tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        paths = [recording(tmp_path / name) for name in ("x/a.wav", "b.wav", "y/a.flac")]
        assert decompose(*paths, "-d", model, "-o", tmp_path / "out") == 1
        message = capsys.readouterr().err
        assert paths[0] in message
        assert paths[2] in message
        assert not (tmp_path / "out").exists()

    def test_a_missing_input_is_an_error_before_any_work(
        self, tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        good = recording(tmp_path / "a.wav")
        assert decompose(good, tmp_path / "gone.wav", "-d", model, "-o", tmp_path / "out") == 1
        assert "gone.wav" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    def test_a_missing_dictionary(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = recording(tmp_path / "a.wav")
        assert decompose(path, "-d", tmp_path / "gone", "-o", tmp_path / "out") == 1
        assert "no such dictionary file" in capsys.readouterr().err

    def test_a_bad_recording_does_not_stop_the_others(
        self, tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        paths = [recording(tmp_path / f"{name}.wav") for name in "abc"]
        Path(paths[1]).write_text("these are not samples")
        out = tmp_path / "out"
        assert decompose(*paths, "-d", model, "-o", out) == 1
        message = capsys.readouterr().err
        assert "b.wav is not a readable audio file" in message
        assert "1 of 3 recordings failed" in message
        assert sorted(path.name for path in out.iterdir()) == ["a", "c"]

    def test_silence(self, tmp_path: Path, model: str) -> None:
        soundfile.write(tmp_path / "a.wav", np.zeros(4800), 16000)
        out = tmp_path / "out"
        assert decompose(tmp_path / "a.wav", "-d", model, "-o", out) == 0
        assert Decomposition.load(out / "a" / "activations.npz").stop_reason == "silent"
        assert {path.name for path in (out / "a").iterdir()} == FILES

    def test_interruption_saves_what_was_reached(
        self, tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
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
        self, tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
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
        self,
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


class TestSeparate:
    SCORE = "0.0 0.2 57 64 low\n0.05 0.3 60 64 high\n0.1 0.3 69 64 high\n"

    def separate(self, tmp_path: Path, *arguments: object, score: bool = True) -> int:
        source = recording(tmp_path / "a.wav")
        (tmp_path / "score.txt").write_text(self.SCORE)
        scores = [tmp_path / "score.txt"] if score else []
        given = ["separate", source, *scores, "-o", tmp_path / "out", "--max-steps", 3, *arguments]
        return main(list(map(str, given)))

    @pytest.mark.parametrize(
        ("by", "names"),
        [
            ("hand", {"left", "right"}),
            ("track", {"low", "high"}),
            ("pitch", {"A3", "C4", "A4"}),
            ("note", {"001_A3", "002_C4", "003_A4"}),
        ],
    )
    def test_stems_sum_to_the_recording(self, tmp_path: Path, by: str, names: set[str]) -> None:
        assert self.separate(tmp_path, "--by", by) == 0
        paths = sorted((tmp_path / "out" / "a").iterdir())
        assert {path.stem for path in paths} == names
        stems = [soundfile.read(path) for path in paths]
        assert {sr for _, sr in stems} == {16000}
        total = sum(stem for stem, _ in stems)
        np.testing.assert_allclose(total, soundfile.read(tmp_path / "a.wav")[0], atol=1e-4)

    def test_by_a_dictionary(self, tmp_path: Path, model: str) -> None:
        # Sources 60, 64 and 67; the score sorts what is found in them.
        options = ("-d", model, "--split", 64)
        assert self.separate(tmp_path, *options, score=False) == 0
        assert self.separate(tmp_path, *options, "--by", "track", "--overwrite") == 0
        names = {path.stem for path in (tmp_path / "out" / "a").iterdir()}
        assert names == {"left", "right", "low", "high"}

    def test_nothing_is_overwritten_unasked(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.separate(tmp_path) == 0
        before = (tmp_path / "out" / "a" / "left.wav").stat().st_mtime_ns
        assert self.separate(tmp_path) == 1
        assert "left.wav exists" in capsys.readouterr().err
        assert (tmp_path / "out" / "a" / "left.wav").stat().st_mtime_ns == before
        assert self.separate(tmp_path, "--overwrite") == 0

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--align",), "--align needs a score"),
            (("--onset-templates",), "--onset-templates needs a score"),
            (("--by", "track"), "stems by track need a score"),
        ],
    )
    def test_what_needs_a_score(
        self,
        tmp_path: Path,
        model: str,
        capsys: pytest.CaptureFixture[str],
        arguments: tuple,
        message: str,
    ) -> None:
        assert self.separate(tmp_path, "-d", model, *arguments, score=False) == 1
        assert message in capsys.readouterr().err

    def test_a_recorded_piano(self, tmp_path: Path) -> None:
        folder = Path(__file__).parents[2] / "shared" / "data" / "real" / "ENSTDkAm"
        paths = sorted(folder.glob("*chpn-p4*.flac"))
        if not paths:
            pytest.skip(f"no recordings in {folder}")
        samples, sr = soundfile.read(paths[0], dtype="float32", frames=6 * 16000)
        soundfile.write(tmp_path / "piano.wav", samples, sr, subtype="FLOAT")
        score, out = paths[0].with_suffix(".txt"), tmp_path / "out"
        given = ["separate", tmp_path / "piano.wav", score, "-o", out, "--max-steps", 10]
        assert main(list(map(str, given))) == 0
        stems = [soundfile.read(path)[0] for path in sorted((out / "piano").iterdir())]
        assert len(stems) == 2 and all(np.abs(stem).max() > 0.01 for stem in stems)
        np.testing.assert_allclose(sum(stems), samples, atol=1e-4)


class TestEvaluate:
    @pytest.fixture
    def results(self, tmp_path: Path, model: str) -> Path:
        paths = [recording(tmp_path / f"{name}.wav") for name in "ab"]
        assert decompose(*paths, "-d", model, "-o", tmp_path / "out") == 0
        labels = tmp_path / "labels"
        labels.mkdir()
        (labels / "a.txt").write_text("onset\toffset\tpitch\n0.0\t0.3\t60\n")
        midi = pretty_midi.PrettyMIDI()
        midi.instruments.append(pretty_midi.Instrument(0))
        midi.instruments[0].notes.append(pretty_midi.Note(64, 64, 0.0, 0.2))
        midi.write(str(labels / "b.mid"))
        return tmp_path / "out"

    def test_table_and_json(
        self, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
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
        assert [row.split()[1] for row in rows] == [
            f"{value:.3f}" for value in (*psa, sum(psa) / 2)
        ]
        assert main(["evaluate", *arguments]) == 1
        assert json.loads(target.read_text()) == record
        assert main(["evaluate", *arguments, "--overwrite"]) == 0
        assert json.loads(target.read_text())["label_delay"] == 0

    def test_one_label_file_for_one_result(
        self, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        label = str(tmp_path / "labels" / "a.txt")
        assert main(["evaluate", str(results / "a"), label]) == 0
        assert capsys.readouterr().out.splitlines()[1].split()[0] == "a"
        assert main(["evaluate", str(results), label]) == 1
        assert "2 results" in capsys.readouterr().err

    def test_missing_labels_and_results(
        self, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "labels" / "b.mid").unlink()
        assert main(["evaluate", str(results), str(tmp_path / "labels")]) == 1
        assert "no labels for b" in capsys.readouterr().err
        assert main(["evaluate", str(tmp_path / "empty"), str(tmp_path / "labels")]) == 1
        assert "empty" in capsys.readouterr().err


class TestFit:
    @pytest.fixture
    def notes(self, tmp_path: Path) -> Path:
        for pitch, frequency in ((60, 261.6), (64, 329.6)):
            for take in "ab":
                path = tmp_path / "notes" / f"{pitch}_{take}.wav"
                path.parent.mkdir(exist_ok=True)
                soundfile.write(path, tone(6000, frequency + (take == "b")), 16000)
        return tmp_path / "notes"

    @pytest.mark.parametrize("kind", ["nmf", "dds2", "dds3"])
    def test_writes_a_dictionary(
        self,
        notes: Path,
        tmp_path: Path,
        kind: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        import sys

        presets = sys.modules["dds_fast.fit"].PRESETS
        tiny = replace(presets["small"], sizes=dict.fromkeys(["dds2", "dds3"], lambda F: (1, 4, 1)))
        monkeypatch.setitem(presets, "small", tiny)
        out = tmp_path / "fitted.safetensors"
        arguments = ["fit", str(notes), "-o", str(out), "--kind", kind, "--max-epochs", "1"]
        arguments += [] if kind == "nmf" else ["--codes", "7"]
        assert main(arguments) == 0
        assert str(out) in capsys.readouterr().out
        made = dds_fast.load(out)
        assert (made.kind, made.sources) == (kind, (60, 64))
        assert made.spectrogram.n_features == 512
        assert made.metadata["training"]["n_recordings"] == 4
        if kind != "nmf":
            assert made.codes.shape[:2] == (2, 7)
            written = {path.name for path in (tmp_path / "fitted.fit").iterdir()}
            pictures = {"losses.png", "likelihoods.png", "samples.png", "codes.png"}
            assert written == {"log.csv", "report.json", *pictures}
        before = out.read_bytes()
        assert main(arguments) == 1
        assert "--overwrite" in capsys.readouterr().err
        assert out.read_bytes() == before

    def test_no_notes(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "empty").mkdir()
        assert main(["fit", str(tmp_path / "empty"), "-o", str(tmp_path / "d")]) == 1
        assert "no isolated notes" in capsys.readouterr().err
        assert not (tmp_path / "d").exists()

    def test_divergence_is_a_message_not_a_traceback(
        self,
        notes: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        import sys

        def diverge(*arguments: Any, **options: Any) -> None:
            raise FloatingPointError("the training loss is not finite; lower the learning rate")

        monkeypatch.setattr(sys.modules["dds_fast.fit"], "fit", diverge)
        assert main(["fit", str(notes), "-o", str(tmp_path / "d")]) == 1
        assert "lower the learning rate" in capsys.readouterr().err


class TestInspect:
    @pytest.fixture
    def notes(self, tmp_path: Path) -> Path:
        for pitch, frequency in ((60, 261.6), (64, 329.6), (90, 1480.0)):
            path = tmp_path / "notes" / f"{pitch}.wav"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, tone(3200, frequency), 16000)
        return tmp_path / "notes"

    def test_reports_on_the_notes_it_knows(
        self, notes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        dictionary("dds2").save(tmp_path / "d")
        out = tmp_path / "report"
        assert main(["inspect", str(tmp_path / "d"), str(notes), "-o", str(out)]) == 0
        assert "bits_per_dim" in capsys.readouterr().out
        assert set(json.loads((out / "report.json").read_text())["sources"]) == {"60", "64"}
        assert main(["inspect", str(tmp_path / "d"), str(notes), "-o", str(out)]) == 1
        assert "--overwrite" in capsys.readouterr().err

    def test_a_report_needs_notes(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        dictionary("dds2").save(tmp_path / "d")
        assert main(["inspect", str(tmp_path / "d"), "-o", str(tmp_path / "report")]) == 1
        assert "DATA" in capsys.readouterr().err


class TestOthers:
    def test_inspect(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    def test_inspect_shows_the_codes(
        self,
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

    def test_inspect_shows_when_a_note_is_one(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        dictionary("dds3", detection={"dds3": {"upper": 0.5, "lower": 0.25}}).save(tmp_path / "d")
        assert main(["inspect", str(tmp_path / "d")]) == 0
        assert "Detection(upper=0.5, lower=0.25, min_duration=0.1" in capsys.readouterr().out

    def test_inspect_a_foreign_file(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "d").write_text("hello")
        assert main(["inspect", str(tmp_path / "d")]) == 1
        assert "not a readable dictionary" in capsys.readouterr().err

    def test_plot(self, tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
        path, out = recording(tmp_path / "a.wav"), tmp_path / "out"
        assert decompose(path, "-d", model, "-o", out) == 0
        (tmp_path / "a.txt").write_text("0 0.2 60\n")
        arguments = ["plot", str(out / "a" / "activations.npz"), "-o", str(tmp_path / "p.png")]
        assert main([*arguments, "--labels", str(tmp_path / "a.txt"), "--label-delay", "0.1"]) == 0
        assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"
        assert main(arguments) == 1
        assert "p.png exists" in capsys.readouterr().err
        assert main([*arguments, "--overwrite"]) == 0

    @pytest.mark.parametrize(
        ("found", "expected"),
        [
            ({60, 64}, "Found C4, E4; nothing else."),
            ({60, 64, 67, 30}, "Found C4, E4; also found F♯1, G4, not played."),
            ({60}, "Found C4; missed E4; nothing else."),
            ({67}, "Found none of them; missed C4, E4; also found G4, not played."),
        ],
    )
    def test_what_the_demo_found(self, found: set[int], expected: str) -> None:
        assert cli.compared({60, 64}, found) == expected

    def test_info(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["info"]) == 0
        out = capsys.readouterr().out
        for text in ("dds-fast ", "torch ", "cpu: ", "cpu in float64:", "search: ", "tf32"):
            assert text in out

    @pytest.mark.parametrize(
        "arguments",
        [[], ["compose"], ["decompose"], ["decompose", "a.wav"], ["decompose", "--max", "3"]],
        ids=["none", "unknown", "no-input", "no-output", "abbreviation"],
    )
    def test_usage_errors(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as raised:
            main(arguments)
        assert raised.value.code == 2
        assert "usage: dds-fast" in capsys.readouterr().err

    def test_options_are_not_abbreviated(self, tmp_path: Path, model: str) -> None:
        path = recording(tmp_path / "a.wav")
        with pytest.raises(SystemExit) as raised:
            decompose(path, "-d", model, "-o", tmp_path / "out", "--max-st", "1")
        assert raised.value.code == 2
