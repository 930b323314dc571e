"""Random chords mixed from isolated notes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny import tone

from dds_fast.datasets import find_notes, random_chords
from dds_fast.datasets.chords import CHORD_PEAK, DAMPING, DURATION, HOLD, JITTER, LEAD_IN
from dds_fast.datasets.notes import Recording

PITCHES = (60, 64, 67, 70)


@pytest.fixture
def notes(tmp_path: Path) -> list[Recording]:
    for pitch in PITCHES:
        frequency = 440 * 2 ** ((pitch - 69) / 12)
        soundfile.write(tmp_path / f"{pitch}.wav", tone(32000, frequency), 16000)
    return find_notes(tmp_path)


def test_shape_levels_and_labels(notes: list[Recording]) -> None:
    chords = list(random_chords(notes, polyphony=3, n_chords=8, seed=1))
    assert len(chords) == 8
    for waveform, labels in chords:
        assert waveform.shape == (round(DURATION * 16000),)
        assert CHORD_PEAK[0] - 1e-3 <= np.abs(waveform).max() <= CHORD_PEAK[1] + 1e-3
        assert len(set(labels.pitches)) == 3 and set(labels.pitches) <= set(PITCHES)
        onsets, offsets = labels.intervals.T
        assert np.all((onsets >= LEAD_IN) & (onsets <= LEAD_IN + JITTER))
        assert np.all((offsets - onsets >= HOLD[0]) & (offsets - onsets <= HOLD[1]))
        assert not waveform[: round(LEAD_IN * 16000) - 1].any()
        silent = round((offsets.max() + DAMPING) * 16000)
        assert np.abs(waveform[silent:]).max() <= 1e-3 * np.abs(waveform).max()


def test_seed_decides_everything(notes: list[Recording]) -> None:
    first, again, other = (
        next(random_chords(notes, polyphony=2, n_chords=1, seed=seed)) for seed in (0, 0, 1)
    )
    assert np.array_equal(first[0], again[0])
    assert not np.array_equal(first[0], other[0])


def test_more_keys_than_there_are(notes: list[Recording]) -> None:
    with pytest.raises(ValueError, match="chord of 5 keys"):
        next(random_chords(notes, polyphony=5, n_chords=1))
