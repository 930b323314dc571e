"""The packaged piano and the demonstration."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import dds_fast
from dds_fast import metrics
from dds_fast.command.demo import DEMO_CLIP
from dds_fast.command.main import main
from dds_fast.datasets import load_labels


@pytest.fixture(scope="module")
def piano() -> dds_fast.Dictionary:
    return dds_fast.load(dds_fast.PIANO)


def test_it_is_small_and_complete(piano: dds_fast.Dictionary) -> None:
    assert dds_fast.PIANO.stat().st_size < 12e6
    assert (piano.kind, piano.sources) == ("dds3", tuple(range(36, 96)))
    assert piano.spectrogram == dds_fast.SpectrogramConfig(n_fft=1024)
    assert piano.detection is not None and piano.detection.upper > 0
    assert piano.search.algorithm == "staged"
    assert piano.codes is not None and piano.codes.shape == (60, 40, 452)
    assert piano.metadata["codes"]["per_source"] == 40
    assert piano.metadata["training"]["n_recordings"] > 200


def test_it_knows_its_own_notes(piano: dds_fast.Dictionary) -> None:
    """Spectra drawn at the prior's mode are told apart: each is nearest to its own class code."""
    import torch

    flow = piano.flow
    codes = torch.eye(60)
    with torch.no_grad():
        x, _ = flow.decode(torch.cat([codes, torch.zeros(60, 512 - 60)], dim=1))
        z, _ = flow.encode(x.clamp_min(0))
    assert (z[:, :60].argmax(dim=1) == torch.arange(60)).float().mean() > 0.9


@pytest.mark.slow
def test_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 0
    folder = tmp_path / "demo" / DEMO_CLIP.stem
    said = capsys.readouterr().out
    assert str(folder) in said
    assert {path.name for path in folder.iterdir()} == {
        "activations.npz",
        "notes.csv",
        "notes.mid",
        "activations.png",
    }
    result = dds_fast.Decomposition.load(folder / "activations.npz")
    labels = load_labels(DEMO_CLIP.with_suffix(".txt"))
    roll = labels.roll(result.sources, result.times)
    live = roll.any(axis=0)
    # Chance is 3 / 60.
    assert metrics.psa(np.asarray(result.source_activations)[:, live], roll[:, live]) > 0.3
    with (folder / "notes.csv").open() as file:
        found = {int(row["pitch_midi"]) for row in csv.DictReader(file)}
    assert set(labels.pitches) <= found
    assert "Found B2, C4, D♯4; " in said
    assert "missed" not in said
