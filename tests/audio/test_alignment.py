"""Scores brought into time with a recording."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from dds_fast import audio
from dds_fast.audio import alignment, synchronization
from dds_fast.datasets import Labels
from dds_fast.methods.score_informed import CONFIG


def piece(random_state: int = 0, n: int = 24) -> tuple[Labels, np.ndarray]:
    """A melody and its STFT."""
    onsets = np.arange(n) * 0.25
    pitches = 55 + np.random.default_rng(random_state).integers(0, 20, n)
    labels = Labels(np.stack([onsets, onsets + 0.25], 1), pitches, np.full(n, 64.0))
    t = np.arange(int((n * 0.25 + 0.5) * 16000)) / 16000
    waveform = np.zeros(len(t))
    for onset, pitch in zip(onsets, pitches, strict=True):
        tone = np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * t)
        waveform += 0.3 * tone * (t >= onset) * (t < onset + 0.25)
    return labels, audio.stft(waveform, CONFIG)


@pytest.mark.parametrize("most_frames", [alignment.MOST_FRAMES, 120], ids=["all", "grouped"])
def test_a_stretched_score_is_brought_back(
    most_frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alignment, "MOST_FRAMES", most_frames)
    labels, stft = piece()
    bent = labels.intervals * 1.3 + 0.4 + 0.3 * np.sin(labels.intervals)
    aligned = alignment.align(replace(labels, intervals=bent), stft, CONFIG)
    errors = np.abs(aligned.intervals[:, 0] - labels.intervals[:, 0])
    # Frames last 0.032 s, or twice that in groups; equal notes in a row hide a boundary.
    assert np.median(errors) < 0.07 and (np.diff(aligned.intervals[:, 0]) >= 0).all()
    assert aligned.pitches.tolist() == labels.pitches.tolist()
    assert alignment.fit(aligned, stft, CONFIG) > 2 * alignment.fit(
        replace(labels, intervals=bent), stft, CONFIG
    )


def test_synctoolbox_brings_back_too() -> None:
    pytest.importorskip("synctoolbox")
    labels, _ = piece()
    waveform = audio.istft(piece()[1], CONFIG)
    bent = labels.intervals * 1.3 + 0.4 + 0.3 * np.sin(labels.intervals)
    found = synchronization.warped(bent, labels.pitches, waveform, 16000)
    errors = np.abs(found[:, 0] - labels.intervals[:, 0])
    assert np.median(errors) < 0.03 and (np.diff(found[:, 0]) >= 0).all()


def test_synctoolbox_is_missed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "synctoolbox", None)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'dds-fast\[sync\]'"):
        synchronization.warped(np.zeros((1, 2)), np.array([60]), np.zeros(16000), 16000)


def test_fit_tells_a_score_from_others() -> None:
    labels, stft = piece()
    assert alignment.fit(labels, stft, CONFIG) > 0.4
    for other in (piece(1)[0], replace(labels, pitches=labels.pitches + 3)):
        assert alignment.fit(other, stft, CONFIG) < alignment.LEAST_FIT
        with pytest.warns(UserWarning, match="does not fit"):
            alignment.check_fit(other, stft, CONFIG)
    assert alignment.fit(labels.shifted(100), stft, CONFIG) == 0
