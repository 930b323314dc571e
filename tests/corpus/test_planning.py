"""What a corpus will cost, and which settings are its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import dictionary, recording

from dds_fast import corpus
from dds_fast.corpus.planning import PER_RECORDING, PER_SECOND, digest, record_of
from dds_fast.dictionary import Dictionary


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.safetensors"
    dictionary("dds3").save(path)
    return path


def test_from_headers_alone(tmp_path: Path, model: Path) -> None:
    for name in "ab":
        recording(tmp_path / "in" / f"{name}.wav")
    (tmp_path / "in" / "bad.wav").touch()
    planned = corpus.plan([tmp_path / "in"], tmp_path / "out", model, workers=2, files=True)
    assert planned.hours * 3600 == pytest.approx(0.6)
    expected = 3 * PER_RECORDING + 0.6 * PER_SECOND
    assert planned.expected_hours * 3600 * 2 == pytest.approx(expected)
    assert "3 recordings" in str(planned) and "1 without a readable header" in str(planned)
    assert not (tmp_path / "out").exists()


def test_what_is_done_and_how_long_it_took(tmp_path: Path, model: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pytest.importorskip("ray", reason="corpora need the extra ray")
    from dds_fast.corpus.table import Table, schema

    paths = [recording(tmp_path / f"{name}.wav") for name in "abc"]
    took = 3 * (PER_RECORDING + 0.3 * PER_SECOND)
    rows = [
        {"recording": paths[0], "seconds": 0.3, "searched_s": took, "notes": []},
        {"recording": paths[1], "error": "broken", "notes": []},
    ]
    with Table(tmp_path / "out").opened(record_of(model)) as writer:
        writer.add(pa.Table.from_pylist(rows, schema([60])))
    planned = corpus.plan(paths, tmp_path / "out", model, workers=1)
    assert (planned.left, planned.failed) == (paths[1:], {paths[1]})
    assert planned.expected_hours * 3600 == pytest.approx(2 * took)
    with pytest.raises(ValueError, match="max_steps"):
        corpus.plan(paths, tmp_path / "out", model, max_steps=5)
    assert corpus.plan(paths, tmp_path / "out", model, max_steps=5, overwrite=True).left == paths


def test_what_makes_a_table_another(model: Path) -> None:
    record = record_of(model)
    for changed in ({"max_steps": 7}, {"tuning": "auto"}, {"precision": "float64"}):
        assert record_of(model, **changed) != record
    assert record_of(model, device="cpu", backend="reference") == record
    assert record_of(model, label_delay=0.05) != record


def test_a_dictionary_that_is_given_is_told_by_what_is_in_it() -> None:
    made = dictionary("dds3")
    same = Dictionary.from_flow(made.flow, made.sources, made.spectrogram)  # type: ignore[arg-type]
    assert digest(made) == digest(same) != digest(dictionary("nmf"))


@pytest.mark.parametrize("name", ["sr", "keep_components", "max_step"])
def test_options_that_there_are_not(model: Path, name: str) -> None:
    with pytest.raises(TypeError, match=f"no option '{name}'"):
        record_of(model, **{name: 1})
