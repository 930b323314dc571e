"""Random chords and sequences mixed from isolated notes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny import tone

from dds_fast import SpectrogramConfig, audio
from dds_fast.datasets import find_notes, random_chords, random_sequence
from dds_fast.datasets.chords import (
    CHORD_PEAK,
    DAMPING,
    DURATION,
    HOLD,
    JITTER,
    LEAD_IN,
    LENGTHS,
)
from dds_fast.datasets.notes import Recording

PITCHES = (60, 64, 67, 70)


@pytest.fixture
def notes(tmp_path: Path) -> list[Recording]:
    for pitch in PITCHES:
        frequency = 440 * 2 ** ((pitch - 69) / 12)
        soundfile.write(tmp_path / f"{pitch}.wav", tone(32000, frequency), 16000)
    return find_notes(tmp_path)


def test_shape_levels_and_labels(notes: list[Recording]) -> None:
    chords = list(random_chords(notes, polyphony=3, n_chords=8, random_state=1))
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
        next(random_chords(notes, polyphony=2, n_chords=1, random_state=n)) for n in (0, 0, 1)
    )
    assert np.array_equal(first[0], again[0])
    assert not np.array_equal(first[0], other[0])


def test_more_keys_than_there_are(notes: list[Recording]) -> None:
    with pytest.raises(ValueError, match="chord of 5 keys"):
        next(random_chords(notes, polyphony=5, n_chords=1))


def test_sequences_are_played_as_labelled(notes: list[Recording]) -> None:
    waveform, labels = random_sequence(notes, 20.0, most_keys=3, random_state=1)
    assert waveform.shape == (320000,) and waveform.dtype == np.float32
    assert CHORD_PEAK[0] - 1e-3 <= np.abs(waveform).max() <= CHORD_PEAK[1] + 1e-3
    assert not waveform[: round(LEAD_IN * 16000) - 1].any()
    onsets, offsets = labels.intervals.T
    assert np.all(np.diff(onsets) >= 0) and onsets[0] == LEAD_IN and offsets.max() <= 20
    lengths = (offsets - onsets)[offsets < 20]
    assert np.all((lengths >= LENGTHS[0]) & (lengths <= LENGTHS[1]))
    assert set(labels.pitches) == set(PITCHES)
    assert labels.velocities.min() >= 32 and labels.velocities.max() <= 96
    bins = np.abs(audio.stft(waveform, SpectrogramConfig(n_fft=2048, hop=512)))
    times = np.arange(bins.shape[1]) * 512 / 16000
    roll = labels.roll(PITCHES, times)
    frequencies = 440 * 2 ** ((np.array(PITCHES) - 69) / 12)
    level = bins[np.round(frequencies * 2048 / 16000).astype(int)]
    assert np.median(level[roll]) > 20 * np.median(level[~roll])


def test_polyphony_of_a_sequence_drifts_up_to_its_limit(notes: list[Recording]) -> None:
    for most_keys in (1, 3):
        _, labels = random_sequence(notes, 40.0, most_keys=most_keys)
        starts, ends = labels.intervals.T
        polyphony = ((starts <= starts[:, None]) & (ends > starts[:, None])).sum(1)
        assert set(polyphony) == set(range(1, most_keys + 1))


def test_keys_of_a_sequence_are_struck_again_but_never_while_down(notes: list[Recording]) -> None:
    _, labels = random_sequence(notes, 40.0, most_keys=3)
    gaps = np.concatenate(
        [
            labels.intervals[labels.pitches == pitch][1:, 0]
            - labels.intervals[labels.pitches == pitch][:-1, 1]
            for pitch in PITCHES
        ]
    )
    assert gaps.min() >= 0
    assert (gaps < 0.1).any()


def test_the_seed_decides_a_sequence(notes: list[Recording]) -> None:
    first, again, other = (
        random_sequence(notes, 2.0, most_keys=2, random_state=s) for s in (0, 0, 1)
    )
    assert np.array_equal(first[0], again[0])
    assert not np.array_equal(first[0], other[0])


def test_sequences_that_cannot_be_played(notes: list[Recording]) -> None:
    with pytest.raises(ValueError, match="5 keys together"):
        random_sequence(notes, 2.0)
    with pytest.raises(ValueError, match="at least 0.45 seconds"):
        random_sequence(notes, 0.4, most_keys=2)
