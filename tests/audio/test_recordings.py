"""Recordings brought to one level and to A = 440 Hz."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from tiny import CONFIG, dictionary, tone

import dds_fast
from dds_fast import Decomposition, Dictionary, Spectrogram, SpectrogramConfig, audio, decompose
from dds_fast.audio.recordings import read
from dds_fast.datasets import Labels, NoteFrames
from dds_fast.methods import score_informed


def at_level(decibels: float, dtype: type = np.float64) -> np.ndarray:
    return (0.5 * 10 ** (decibels / 20) * tone(dtype=float)).astype(dtype)


class TestLevel:
    @pytest.mark.parametrize("decibels", [-40, 20])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_does_not_matter(self, decibels: float, dtype: type) -> None:
        given = read(at_level(decibels, dtype), 16000, CONFIG)
        reference = read(at_level(0, dtype), 16000, CONFIG)
        # Rounding, magnified by the compression's slope at zero.
        tolerance = np.finfo(dtype).eps * CONFIG.gamma / np.log1p(CONFIG.gamma)
        np.testing.assert_allclose(given.X, reference.X, rtol=0, atol=tolerance)
        assert given.X.dtype == reference.X.dtype == getattr(torch, np.dtype(dtype).name)
        assert given.gain == pytest.approx(reference.gain / 10 ** (decibels / 20), rel=1e-6)

    def test_the_peak_is_that_of_the_decomposed_recording(self) -> None:
        gain = read(at_level(-40), 16000, CONFIG).gain
        assert gain * np.abs(at_level(-40)).max() == pytest.approx(audio.waveforms.PEAK)

    @pytest.mark.parametrize("decibels", [-40, 0])
    @pytest.mark.parametrize("kind", ["path", "array", "tensor"])
    def test_stems_sum_to_the_recording_as_it_was(
        self, decibels: float, kind: str, tmp_path: Path
    ) -> None:
        waveform = at_level(decibels, np.float32)
        source: Any = {
            "path": tmp_path / "a.wav",
            "array": waveform,
            "tensor": torch.from_numpy(waveform),
        }[kind]
        soundfile.write(tmp_path / "a.wav", waveform, 16000, subtype="FLOAT")
        result = decompose(source, dictionary("dds3"), sr=16000, n_components=1, max_steps=2)
        assert isinstance(result, Decomposition)
        stems = result.separate().stems
        np.testing.assert_allclose(stems.sum(0), waveform, atol=1e-4 * np.abs(waveform).max())

    def test_of_score_informed_decompositions_does_not_matter_either(self) -> None:
        score = Labels(np.array([[0.0, 0.2]]), np.array([69]), np.array([64.0]))
        quiet, loud = (
            score_informed.decompose(at_level(d), score, sr=16000, config=CONFIG, n_steps=5)
            for d in (-40, 0)
        )
        np.testing.assert_allclose(quiet.activations, loud.activations, rtol=1e-9)
        assert quiet.gain == pytest.approx(100 * loud.gain)
        np.testing.assert_allclose(quiet.separate().stems.sum(0), at_level(-40), atol=1e-6)

    def test_silence_stays_silent(self) -> None:
        given = read(np.zeros(3200, np.float32), 16000, CONFIG)
        assert given.gain == 1
        assert not given.X.any()
        assert audio.normalising_gain(np.full(9, 1e-40, np.float32)) == 1

    def test_a_spectrogram_is_taken_as_it_is(self) -> None:
        X = audio.spectrogram(at_level(-40), CONFIG)
        given = read(X, None, CONFIG)
        assert given.gain == 1
        np.testing.assert_array_equal(given.X, X.values)

    def test_an_implausible_peak_warns_once(self) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            given = read(60000 * at_level(0), 16000, CONFIG)
        (warning,) = caught
        assert "peak is 1.4" in str(warning.message)
        assert given.gain == pytest.approx(read(at_level(0), 16000, CONFIG).gain / 60000)


SPECTROGRAM = SpectrogramConfig()
PITCHES = range(57, 70)
ONSETS = {60: 0.5, 67: 2.0, 64: 4.5}
LENGTH = 0.6
A415 = 1200 * np.log2(415 / 440)
A432 = 1200 * np.log2(432 / 440)


def note(pitch: int, a4: float, sr: int) -> np.ndarray:
    """Ten decaying partials of a stiff string, `LENGTH` long."""
    t = np.arange(int(LENGTH * sr)) / sr
    f = a4 * 2 ** ((pitch - 69) / 12)
    partials = [(k, k * f * np.sqrt(1 + 4e-4 * k**2)) for k in range(1, 11)]
    wave = sum(np.sin(2 * np.pi * partial * t + k) / k for k, partial in partials)
    return (0.2 * np.minimum(1, 100 * t) * np.exp(-2 * t) * wave).astype(np.float32)


def melody(a4: float, sr: int = 22050) -> np.ndarray:
    """The notes of `ONSETS`, six seconds in all."""
    wave = np.zeros(6 * sr, np.float32)
    for pitch, onset in ONSETS.items():
        played = note(pitch, a4, sr)
        wave[int(onset * sr) :][: len(played)] += played
    return wave


@pytest.fixture(scope="module")
def piano() -> Dictionary:
    """All frames of each note at A = 440 Hz, with silence around it."""
    frames = {}
    for pitch in PITCHES:
        wave = np.pad(note(pitch, 440, SPECTROGRAM.sr), 2048)
        wave = wave * audio.normalising_gain(wave)
        frames[pitch] = audio.spectrogram(wave, SPECTROGRAM).values[:, 3:-3].T
    return Dictionary.from_frames(NoteFrames.from_mapping(frames), SPECTROGRAM)


def heard(wave: Any, piano: Dictionary, **options: Any) -> Decomposition:
    result = decompose(wave, piano, sr=22050, max_steps=300, step_size=0.02, **options)
    assert isinstance(result, Decomposition)
    return result


class TestTuning:
    @pytest.mark.parametrize(("a4", "cents"), [(440, None), (432, A432), (415, A415)])
    def test_notes_are_found_where_they_are_played(
        self, piano: Dictionary, a4: float, cents: float | None
    ) -> None:
        result = heard(melody(a4), piano, tuning=cents)
        assert result.tuning == (cents or 0)
        notes = result.notes()
        assert [found.source for found in notes] == list(ONSETS)
        for found, onset in zip(notes, ONSETS.values(), strict=True):
            # A window is 128 ms long.
            assert found.start == pytest.approx(onset, abs=0.1)
            assert found.end == pytest.approx(onset + LENGTH, abs=0.1)
        assert result.times[-1] == pytest.approx(6, abs=0.05)
        (track,) = result.to_midi().instruments
        assert [n.start for n in track.notes] == pytest.approx([n.start for n in notes], abs=0.01)

    def test_is_estimated_within_a_semitone(self, piano: Dictionary, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "a.wav", melody(432), 22050, subtype="FLOAT")
        result = heard(tmp_path / "a.wav", piano, tuning="auto")
        assert result.tuning == pytest.approx(A432, abs=4)
        assert [found.source for found in result.notes()] == list(ONSETS)

    def test_baroque_pitch_is_estimated_as_a_semitone_below(self, piano: Dictionary) -> None:
        result = heard(melody(415), piano, tuning="auto")
        assert result.tuning == pytest.approx(A415 + 100, abs=4)
        assert [found.source for found in result.notes()] == [pitch - 1 for pitch in ONSETS]

    def test_matters(self, piano: Dictionary) -> None:
        assert [found.source for found in heard(melody(415), piano).notes()] != list(ONSETS)

    def test_of_silence_is_none(self) -> None:
        assert audio.estimate_tuning(np.zeros(9000, np.float32), 16000) == 0

    @pytest.mark.parametrize("sr", [16000, 44100])
    @pytest.mark.parametrize("cents", [-45, 0, 20])
    def test_estimate(self, sr: int, cents: float) -> None:
        wave = melody(440 * audio.frequency_ratio(cents), sr)
        assert audio.estimate_tuning(wave, sr) == pytest.approx(cents, abs=4)

    @pytest.mark.parametrize("tuning", ["baroque", 151, -151.0, float("nan"), True, [0]])
    def test_others_are_refused(self, tuning: Any) -> None:
        with pytest.raises(ValueError, match="tuning must be None, 'auto' or cents within 150"):
            read(tone(), 16000, CONFIG, tuning)

    @pytest.mark.parametrize("tuning", ["auto", 0, -31.8])
    def test_a_spectrogram_has_none(self, tuning: Any) -> None:
        X = Spectrogram(np.ones((64, 5), np.float32), CONFIG)
        with pytest.raises(ValueError, match="a Spectrogram cannot be retuned"):
            dds_fast.decompose(X, dictionary("dds3"), tuning=tuning)
