"""The quality report of a dictionary, on dictionaries whose answers are known."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import CONFIG, dictionary

from dds_fast import Dictionary
from dds_fast.codes import add_codes
from dds_fast.datasets import NoteFrames
from dds_fast.flows.training.losses import bank_loss, glow_loss
from dds_fast.inspection import inspect

SOURCES = (60, 64, 67)


def notes(sources: tuple[int, ...] = SOURCES, n: int = 12) -> NoteFrames:
    rng = np.random.default_rng(0)
    return NoteFrames.from_mapping(
        {source: rng.random((n, 64), dtype=np.float32) + i for i, source in enumerate(sources)}
    )


@pytest.mark.parametrize("kind", ["dds2", "dds3"])
def test_bits_are_the_losses_of_the_flow(kind: str) -> None:
    made, given = dictionary(kind), notes()
    report = inspect(made, given, frames_per_source=100)
    to_bits = 1 / (math.log(2) * 64)
    with torch.no_grad():
        for note in range(3):
            x = torch.from_numpy(given.frames[given.labels == note])
            for flow in range(3):
                if kind == "dds2":
                    loss = bank_loss(made.flow, x.expand(3, -1, -1))[flow].mean()
                else:
                    loss = glow_loss(made.flow, x, torch.full((len(x),), flow)).mean()
                assert report.bits[flow, note] == pytest.approx(float(loss) * to_bits, rel=1e-4)
    np.testing.assert_array_equal(report.own, np.diag(report.bits))
    assert report.round_trip < 1e-4
    assert report.n_frames == 36


def test_gaps_tell_notes_that_another_flow_explains_better() -> None:
    report = inspect(dictionary("dds2"), notes())
    own = report.own.copy()
    report.bits[:] = own.max() + 5.0
    np.fill_diagonal(report.bits, own)
    report.bits[2, 0] = own[0] - 1
    assert report.gaps[0] == pytest.approx(-1)
    assert report.summary()["own_source_likeliest"] == pytest.approx(2 / 3)
    assert report.summary()["smallest_gap"]["source"] == 60


def test_semantic_accuracy() -> None:
    made, given = dictionary("dds3"), notes()
    with torch.no_grad():
        z = made.flow.encode(torch.from_numpy(given.frames))[0][:, :3]
    expected = (z.argmax(1).numpy() == given.labels).mean()
    assert inspect(made, given).semantic_accuracy == pytest.approx(expected)
    assert inspect(dictionary("dds2"), given).semantic_accuracy is None


def test_some_sources_are_enough() -> None:
    report = inspect(dictionary("dds2"), notes((67, 60)), frames_per_source=4)
    assert report.n_frames == 8
    assert np.isnan(report.own).tolist() == [False, True, False]
    summary = report.summary()
    assert math.isfinite(summary["bits_per_dim"]) and math.isfinite(summary["own_source_likeliest"])
    assert report.sampled == (0, 2)
    assert report.samples.shape == report.real.shape == (2, 5, 64)


def test_same_seed_same_report() -> None:
    first, second, other = (
        inspect(dictionary("dds3"), notes(), random_state=random_state, frames_per_source=3)
        for random_state in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.samples, second.samples)
    np.testing.assert_array_equal(first.bits, second.bits)
    assert not np.array_equal(first.bits, other.bits)


@pytest.mark.parametrize("kind", ["dds2", "dds3"])
def test_files(kind: str, tmp_path: Path) -> None:
    report = inspect(dictionary(kind), notes((60, 67)))
    report.save(tmp_path / "report")
    written = json.loads((tmp_path / "report" / "report.json").read_text())
    assert set(written["sources"]) == {"60", "67"}
    assert written["n_frames"] == 24
    for name in ("likelihoods.png", "samples.png"):
        assert (tmp_path / "report" / name).read_bytes()[:4] == b"\x89PNG"
    assert not (tmp_path / "report" / "codes.png").exists()
    with pytest.raises(FileExistsError, match="report"):
        report.save(tmp_path / "report")
    report.save(tmp_path / "report", overwrite=True)


@pytest.mark.parametrize("kind", ["dds2", "dds3"])
def test_codes(kind: str, tmp_path: Path) -> None:
    made = dictionary(kind)
    assert inspect(made, notes()).summary()["codes"] is None
    add_codes(made, notes(), 7)
    report = inspect(made, notes((60, 67)))
    D = made.codes.shape[-1]
    Z = torch.cat([torch.eye(3).repeat_interleave(7, 0)[:, : 64 - D], made.codes.flatten(0, 1)], 1)
    with torch.no_grad():
        if kind == "dds2":
            entries = made.flow.decode(made.codes)[0]
            loss = bank_loss(made.flow, entries).mean()
        else:
            entries = made.flow.decode(Z)[0].view(3, 7, 64)
            labels = torch.arange(3).repeat_interleave(7)
            loss = glow_loss(made.flow, entries.flatten(0, 1), labels).mean()
    summary = report.summary()["codes"]
    assert summary == {
        "per_source": 7,
        "bits_per_dim": pytest.approx(float(loss) / (math.log(2) * 64), rel=1e-4),
        "rms": pytest.approx(float(made.codes.square().mean().sqrt())),
    }
    expected = entries[[0, 2], :5].clamp_min(0).numpy()
    np.testing.assert_allclose(report.codes.entries, expected, rtol=1e-4, atol=1e-5)
    report.save(tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["codes"] == summary
    assert (tmp_path / "codes.png").read_bytes()[:4] == b"\x89PNG"


def test_named_sources(tmp_path: Path) -> None:
    made = dictionary("dds2", ("violin", "flute", "oboe"))
    frames = {name: np.ones((3, 64), np.float32) for name in ("flute", "oboe")}
    inspect(made, NoteFrames.from_mapping(frames)).save(tmp_path)


def test_what_cannot_be_inspected() -> None:
    with pytest.raises(ValueError, match="nmf"):
        inspect(dictionary("nmf"), notes())
    with pytest.raises(ValueError, match="61"):
        inspect(dictionary("dds2"), notes((61,)))
    bins = NoteFrames.from_mapping({60: np.ones((2, 8), np.float32)})
    with pytest.raises(ValueError, match="8 bins.*64"):
        inspect(dictionary("dds2"), bins)


def test_the_frozen_flow_is_left_as_it_was() -> None:
    made = dictionary("dds2")
    assert isinstance(made, Dictionary) and made.spectrogram == CONFIG
    before = {name: t.clone() for name, t in made.flow.state_dict().items()}
    inspect(made, notes())
    assert all(torch.equal(t, before[name]) for name, t in made.flow.state_dict().items())
