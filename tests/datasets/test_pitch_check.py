"""Recordings that sound like another note than their name says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dds_fast import audio
from dds_fast.datasets import find_notes
from dds_fast.datasets.pitch_check import contradicting_pitch
from dds_fast.datasets.synthetic import instruments

ISOL = Path(__file__).parents[2].parent / "shared" / "data" / "isol"


@pytest.mark.parametrize("sr", [8000, 16000, 44100])
@pytest.mark.parametrize("pitch", [36, 60, 83])
def test_made_notes(pitch: int, sr: int) -> None:
    for instrument in instruments(3):
        wave = instrument.tone(pitch, 90, 1.0, sr)
        assert contradicting_pitch(wave, sr, pitch) is None
        for named in (pitch - 12, pitch - 1, pitch + 1, pitch + 7, pitch + 12):
            assert contradicting_pitch(wave, sr, named) == pitch


def test_what_cannot_be_told_is_no_contradiction() -> None:
    wave = instruments(1)[0].tone(60, 90, 1.0, 16000)
    assert contradicting_pitch(wave[:600], 16000, 57) is None  # ten periods
    assert contradicting_pitch(wave, 16000, 15) is None  # below the keyboard
    assert contradicting_pitch(wave, 2000, 100) is None  # its partials do not exist at this rate
    noise = np.random.default_rng(0).standard_normal(16000)
    assert contradicting_pitch(noise, 16000, 60) is None


def test_a_piano_a_third_of_a_semitone_flat_is_no_contradiction() -> None:
    wave = instruments(1)[0].tone(60, 90, 1.0, 16000)
    assert contradicting_pitch(wave, round(16000 / 2 ** (0.33 / 12)), 60) is None


def test_silence_before_the_note_does_not_count() -> None:
    wave = instruments(1)[0].tone(60, 90, 1.0, 16000)
    late = np.concatenate([np.zeros(32000, np.float32), wave])
    assert contradicting_pitch(late, 16000, 64) == 60


@pytest.mark.slow
@pytest.mark.skipif(not ISOL.is_dir(), reason="the recorded notes are not here")
def test_recorded_pianos() -> None:
    """840 notes of six pianos: no false alarm, and nearly every wrong name is noticed."""
    wrong, noticed, identified = 0, 0, 0
    for recording in find_notes(ISOL):
        wave = audio.load(recording.path, 16000)
        assert contradicting_pitch(wave, 16000, recording.pitch) is None, recording.path
        for shift in (-12, -1, 1, 2, 7, 12):
            heard = contradicting_pitch(wave, 16000, recording.pitch + shift)
            wrong += 1
            noticed += heard is not None
            identified += heard == recording.pitch
    assert noticed > 0.98 * wrong
    assert identified > 0.96 * wrong
