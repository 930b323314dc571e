"""The script that makes the packaged piano, on three notes."""

from __future__ import annotations

import sys
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
from tiny import CONFIG, SOURCES, dictionary, tone

import dds_fast

SCRIPT = Path(__file__).parents[1] / "examples" / "train_piano.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = spec_from_file_location("train_piano", SCRIPT)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    small = {
        "PITCHES": SOURCES,
        "CONFIG": CONFIG,
        "POLYPHONIES": (2,),
        "N_CHORDS": 1,
        "SEQUENCES": 1,
        "SECONDS": 2.0,
        "N_MIXTURES": 4,
        "UPPER": (0.2, 0.4),
        "GRID": ({}, {"max_steps": 2}),
        "SEARCH": {**module.SEARCH, "max_steps": 12},
        "random_sequence": partial(module.random_sequence, most_keys=2),
    }
    for name, value in small.items():
        monkeypatch.setattr(module, name, value)
    return module


@pytest.fixture
def pianos(script: ModuleType, tmp_path: Path) -> Path:
    for piano in (*script.TRAINING, script.HELD_OUT):
        (tmp_path / piano).mkdir()
        for pitch in SOURCES:
            waveform = tone(8000, 440 * 2 ** ((pitch - 69) / 12))
            soundfile.write(tmp_path / piano / f"{pitch}.wav", waveform, 16000)
    return tmp_path


def test_codes_only(
    script: ModuleType,
    pianos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    training = {"config": {"validation": 0.3, "random_state": 0}}
    made = dictionary("dds3", training=training)
    made.save(pianos / "old.safetensors")
    new = pianos / "new.safetensors"
    arguments = ["train_piano.py", str(pianos), "-o", str(new), "--search"]
    arguments += ["--codes-only", str(pianos / "old.safetensors")]
    monkeypatch.setattr(sys, "argv", arguments)
    script.main()
    printed = capsys.readouterr().out
    assert "{'max_steps': 2}: 0." in printed and "sequences" in printed
    loaded = dds_fast.load(new)
    assert loaded.codes.shape == (3, 40, 61)
    assert loaded.metadata["training"] == training
    assert loaded.search.algorithm == "staged" and loaded.search.max_steps == 12
    assert str(loaded.detection) in printed
    assert loaded.detection.upper in (0.2, 0.4)
    assert loaded.temporal is not None
    assert loaded.metadata["calibration"]["dds3"]["n_mixtures"] == 4
    with pytest.raises(SystemExit):
        script.main()
    assert "--overwrite" in capsys.readouterr().err


def test_the_detection_of_the_best_quality_is_taken(script: ModuleType) -> None:
    labels = dds_fast.datasets.Labels(np.array([[0.1, 0.4]]), np.array([60]), np.array([64.0]))
    made = dictionary("dds3")
    result = dds_fast.decompose(tone(8000), made, sr=16000, max_steps=0)
    result.source_activations[:] = 0.05
    result.source_activations[0, (result.times >= 0.1) & (result.times < 0.4)] = 0.3
    found = {"P2": [(result, labels)], "sequences": [(result, labels)]}
    best = script.calibrated(found)
    assert 0.05 < best.lower < best.upper == 0.2
    assert script.quality(script.scores(found, best)) == pytest.approx(1.0)
