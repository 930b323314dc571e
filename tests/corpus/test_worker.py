"""A worker's rows: the notes of `decompose`, and whatever goes wrong with one recording."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tiny import dictionary, recording

import dds_fast
from dds_fast.corpus import worker as workers
from dds_fast.corpus.worker import Worker
from dds_fast.decomposition import Decomposition
from dds_fast.metrics import psa_of
from dds_fast.notes.score import load_labels
from dds_fast.temporal.network import NoteNetwork

KIND = dictionary("dds3", search={"dds3": {"max_steps": 3, "n_components": 2}})


def test_rows_hold_what_decompose_finds(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.wav")
    (tmp_path / "a.txt").write_text("0.0 0.3 60 80\n")
    (row,) = Worker(KIND, "hash").rows([path])
    result = dds_fast.decompose(path, KIND)
    assert row["notes"] == [vars(note) for note in result.notes()]
    assert row["n_notes"] == len(result.notes()) > 0
    labels = load_labels(tmp_path / "a.txt")
    expected = {
        "recording": path,
        "psa": psa_of(result, labels),
        "stop_reason": "max_steps",
        "gain": result.gain,
        "tuning": 0.0,
        "dds_fast": dds_fast.__version__,
        "dictionary": "hash",
    }
    assert expected.items() <= row.items()
    assert row["seconds"] == pytest.approx(0.3, abs=0.01)
    assert row["searched_s"] > 0 and row["warning"] is None and "error" not in row


def test_bad_recordings_are_named_and_cost_the_others_nothing(tmp_path: Path) -> None:
    good = recording(tmp_path / "good.wav")
    (tmp_path / "broken.wav").write_text("these are not samples")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16000)
    names = ("broken.wav", "empty.wav", "gone.wav")
    rows = Worker(KIND, "").rows([*(str(tmp_path / name) for name in names), good])
    assert [row.get("error") for row in rows][3:] == [None]
    for row, name, said in zip(rows, names, ("readable", "no samples", "no such"), strict=False):
        assert row["recording"] == str(tmp_path / name)
        assert said in row["error"] and name in row["error"] and row["notes"] == []


def test_an_error_of_an_unknown_recording_is_not_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decompose(paths: list[Path], *arguments: Any, **options: Any) -> Any:
        if any(path.stem == "b" for path in paths):
            raise KeyError("what a strange file makes of a reader")
        return dds_fast.decompose(paths, *arguments, **options)

    monkeypatch.setattr(workers, "decompose", decompose)
    paths = [recording(tmp_path / f"{name}.wav") for name in "abc"]
    errors = [row.get("error") for row in Worker(KIND, "").rows(paths)]
    assert errors[::2] == [None, None] and "strange file" in str(errors[1])


def test_labels_that_are_none_cost_the_psa_alone(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.wav")
    (tmp_path / "a.txt").write_text("liner notes, not notes\n")
    (row,) = Worker(KIND, "").rows([path])
    assert row["psa"] is None and "error" not in row
    assert row["warning"].startswith(f"no PSA of {path}: ")


def test_warnings_of_a_recording_are_in_its_row(tmp_path: Path) -> None:
    path = Path(recording(tmp_path / "a.wav"))
    path.write_bytes(path.read_bytes()[:-4000])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (row,) = Worker(KIND, "").rows([str(path)])
    assert row["warning"] == f"{path} is cut short: 0.12 s are missing"


def test_a_search_that_is_not_finite_has_failed(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.wav")
    (row,) = Worker(dictionary("dds2"), "", max_steps=20, step_size=1e38).rows([path])
    assert "no longer finite" in row["error"]


def test_files_as_decompose_writes_them(tmp_path: Path) -> None:
    paths = [recording(tmp_path / folder / "a.wav") for folder in ("cd1", "cd2")]
    rows = Worker(KIND, "", folder=tmp_path / "files").rows(paths)
    assert len({row["folder"] for row in rows}) == 2
    for row in rows:
        folder = tmp_path / "files" / row["folder"]
        assert {path.name for path in folder.iterdir()} == {
            *("activations.npz", "notes.csv", "notes.mid", "activations.png")
        }
        assert Decomposition.load(folder / "activations.npz").components is not None


def test_sources_with_names_stay_names(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    drums = dictionary("nmf", ("kick", "snare", "hat"))
    table = Worker(drums, "", max_steps=1)(pa.table({"recording": [recording(tmp_path / "a.wav")]}))
    sources = {note["source"] for note in table["notes"][0].as_py()}
    assert sources <= {"kick", "snare", "hat"} and sources


def test_confidence_is_the_mean_of_the_notes_own(tmp_path: Path) -> None:
    network = NoteNetwork()
    network.offset += 3  # it hears notes all the time
    calibrated = dictionary("nmf")
    calibrated.temporal = network
    (row,) = Worker(calibrated, "", max_steps=1).rows([recording(tmp_path / "a.wav")])
    told = [note["confidence"] for note in row["notes"]]
    assert told and all(0 < one < 1 for one in told)
    assert row["confidence"] == pytest.approx(np.mean(told))
