"""Score-informed decomposition: what the score allows, and nothing else."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from dds_fast import Spectrogram, SpectrogramConfig, nmf
from dds_fast.datasets import Labels
from dds_fast.methods.score_informed import (
    ScoreConstraints,
    activation_windows,
    decompose,
    harmonic_templates,
)
from dds_fast.metrics import si_sdr

CONFIG = SpectrogramConfig(n_fft=1024, hop=256, gamma=0, window="sqrt_hann")
SR = 16000


def notes(*rows: tuple[float, float, int]) -> Labels:
    table = np.array(rows, dtype=float).reshape(-1, 3)
    return Labels(table[:, :2], table[:, 2].astype(int), np.full(len(table), 64.0))


def played(labels: Labels, seconds: float = 2.0) -> np.ndarray:
    """``(n_notes, n)`` tones of five partials."""
    t = np.arange(int(seconds * SR)) / SR
    tones = []
    for (onset, offset), pitch in zip(labels.intervals, labels.pitches, strict=True):
        frequency = 440 * 2 ** ((pitch - 69) / 12)
        tone = sum(np.sin(2 * np.pi * m * frequency * t + m) / m for m in range(1, 6))
        tones.append(0.1 * tone * (t >= onset) * (t < offset) * np.exp(-np.maximum(t - onset, 0)))
    return np.stack(tones)


SCORE = notes((0.2, 1.0, 48), (0.6, 1.6, 66), (1.1, 1.8, 48))
PITCHES = np.array([48, 66])


class TestTemplates:
    @pytest.mark.parametrize("pitch", [24, 60, 95, 127])
    def test_definition(self, pitch: int) -> None:
        """Bin by bin: 1 / m for the highest partial whose band holds the bin (rounded down)."""
        frequency, resolution = 440 * 2 ** ((pitch - 69) / 12), SR / 1024
        m, k = np.arange(1, 1000)[:, None], np.arange(1, 513)
        low, high = (np.floor(edge * m * frequency / resolution) for edge in (0.95, 1.05))
        highest = ((low <= k) & (k <= high)) * m
        expected = np.where(highest.any(0), 1 / np.maximum(highest.max(0), 1), 0)
        np.testing.assert_array_equal(harmonic_templates([pitch], CONFIG)[:, 0], expected)

    def test_columns_are_the_pitches(self) -> None:
        W = harmonic_templates(np.array([60, 72]), CONFIG)
        assert W.shape == (512, 2)
        assert W[:, 0].argmax() < W[:, 1].argmax()

    def test_attacks_begin_at_a_tenth_in_all_bins(self) -> None:
        W, H = ScoreConstraints().factors(SCORE, PITCHES, 125, CONFIG, onset_templates=True)
        np.testing.assert_array_equal(W[:, 0::2], np.full((512, 2), 0.1))
        np.testing.assert_array_equal(W[:, 1::2], harmonic_templates(PITCHES, CONFIG))
        # 62.5 frames a second: from 0.3 s before to 0.1 s after an onset.
        frames = [[*range(18)], [*range(18, 43)]]
        assert [np.flatnonzero(row[:50]).tolist() for row in H[0::2]] == frames


class TestWindows:
    def test_tolerances_in_frames(self) -> None:
        # 62.5 frames a second: 0.2 - 0.1 s is frame 6, 1.0 + 0.3 s ends at frame 81.
        H = activation_windows(notes((0.2, 1.0, 60)), [60], 125, CONFIG, tolerance=(0.1, 0.3))
        assert np.flatnonzero(H[0]).tolist() == list(range(6, 81))

    def test_onsets(self) -> None:
        H = activation_windows(
            notes((0.2, 1.0, 60)), [60], 125, CONFIG, tolerance=(0.1, 0.1), onsets=True
        )
        assert np.flatnonzero(H[0]).tolist() == list(range(6, 18))

    def test_rows_and_edges(self) -> None:
        H = activation_windows(
            notes((0, 0.1, 60), (1.9, 9, 64)), np.array([60, 64]), 125, CONFIG, tolerance=(0.5, 0.0)
        )
        assert np.flatnonzero(H[0]).tolist() == list(range(6))
        assert np.flatnonzero(H[1]).tolist() == list(range(87, 125))


class TestDecompose:
    @pytest.mark.parametrize(
        ("constraints", "onset_templates"),
        [
            ("templates", False),
            ("activations", False),
            ("activations", True),
            ("both", False),
            ("both", True),
        ],
    )
    def test_zeros_stay_zero(self, constraints: str, onset_templates: bool) -> None:
        waveform = played(SCORE).sum(0)
        result = decompose(
            waveform,
            SCORE,
            sr=SR,
            config=CONFIG,
            constraints=constraints,
            onset_templates=onset_templates,
            n_steps=5,
        )
        W, H = result
        T, harmonic = (
            H.shape[1],
            slice(1 if onset_templates else 0, None, 2 if onset_templates else 1),
        )
        assert result.sources == (48, 66) and result.n_steps == 5 and len(H) == len(result.labels)
        allowed_W = harmonic_templates(np.array([48, 66]), CONFIG) > 0
        allowed_H = activation_windows(SCORE, np.array([48, 66]), T, CONFIG) > 0
        bound_W, bound_H = constraints != "activations", constraints != "templates"
        assert (not W[:, harmonic][~allowed_W].any()) == bound_W
        assert (not H[harmonic][~allowed_H].any()) == bound_H
        if onset_templates:
            allowed = activation_windows(
                SCORE, np.array([48, 66]), T, CONFIG, tolerance=(0.3, 0.1), onsets=True
            )
            assert not H[0::2][allowed == 0].any()
            assert result.labels.tolist() == [0, 0, 1, 1]
            assert W[:, 0][~allowed_W[:, 0]].any()  # an attack is not bound to partials
        norms = np.linalg.norm(W, axis=0)
        summed = np.stack([(norms[:, None] * H)[result.labels == s].sum(0) for s in range(2)])
        np.testing.assert_allclose(result.source_activations, summed, rtol=1e-6)

    def test_tolerances(self) -> None:
        constraints = ScoreConstraints(note_tolerance=(0.05, 0.1), pitch_tolerance=0.02)
        waveform = played(SCORE).sum(0)
        result = decompose(
            waveform, SCORE, sr=SR, config=CONFIG, constraints=constraints, n_steps=2
        )
        (W, H), pitches = result, np.array([48, 66])
        T = H.shape[1]
        allowed = activation_windows(SCORE, pitches, T, CONFIG, tolerance=(0.05, 0.1))
        assert not H[allowed == 0].any()
        assert not W[harmonic_templates(pitches, CONFIG, tolerance=0.02) == 0].any()
        assert result.settings["constraints"] == "both"
        assert result.settings["pitch_tolerance"] == 0.02

    def test_is_nmf_from_the_score(self) -> None:
        waveform = played(SCORE).sum(0)
        result = decompose(waveform, SCORE, sr=SR, config=CONFIG, n_steps=7)
        magnitude = result.gain * np.abs(result.stft[1:]) * (2 / np.sqrt(np.hanning(1024)).sum())
        H = activation_windows(SCORE, np.array([48, 66]), magnitude.shape[1], CONFIG)
        expected = nmf.factorize(
            magnitude,
            loss="kl",
            W=harmonic_templates(np.array([48, 66]), CONFIG),
            H=H * magnitude.max(),
            n_steps=7,
            tolerance=0,
            check_every=1,
        )
        np.testing.assert_allclose(result.history, expected.history, rtol=1e-6)
        np.testing.assert_allclose(result.components, expected.W, rtol=1e-5, atol=1e-9)

    def test_notes_come_apart(self) -> None:
        tones = played(SCORE)
        stems = decompose(tones.sum(0), SCORE, sr=SR, n_steps=10).separate().stems
        truth = np.stack([tones[0] + tones[2], tones[1]])
        np.testing.assert_allclose(stems.sum(0), tones.sum(0), atol=1e-4)
        assert (si_sdr(truth, stems) > 15).all()

    def test_files_and_tensors(self, tmp_path: Path) -> None:
        waveform = played(SCORE).sum(0)
        (tmp_path / "score.txt").write_text("0.2 1.0 48\n0.6 1.6 66\n1.1 1.8 48\n")
        options = {"sr": SR, "config": CONFIG, "n_steps": 3}
        expected = decompose(waveform, SCORE, **options)
        found = decompose(torch.from_numpy(waveform), tmp_path / "score.txt", **options)
        assert isinstance(found.activations, torch.Tensor)
        np.testing.assert_array_equal(found.activations.numpy(), expected.activations)
        assert expected.activations.dtype == np.float64

    def test_spectrograms(self) -> None:
        X = Spectrogram(np.random.default_rng(0).random((512, 125)), CONFIG)
        result = decompose(X, SCORE, config=CONFIG, n_steps=2)
        assert result.stft is None and result.activations.shape == (2, 125)
        with pytest.raises(ValueError, match="aligned to a recording"):
            decompose(X, SCORE, config=CONFIG, align=True)

    def test_silence(self) -> None:
        with pytest.warns(UserWarning, match="silent"):
            result = decompose(np.zeros(2 * SR), SCORE, sr=SR, config=CONFIG)
        assert result.stop_reason == "silent" and not result.source_activations.any()

    def test_settings_are_kept(self, tmp_path: Path) -> None:
        result = decompose(played(SCORE).sum(0), SCORE, sr=SR, config=CONFIG, n_steps=2, loss="is")
        result.save(tmp_path / "r.npz")
        again = type(result).load(tmp_path / "r.npz")
        assert again.kind == "score_informed" and again.settings["loss"] == "is"
        assert again.score is None and again.sources == (48, 66)


class TestBadScores:
    WAVEFORM = played(SCORE).sum(0)

    def run(self, labels: Labels, waveform: np.ndarray | None = None, **options: object) -> None:
        waveform = self.WAVEFORM if waveform is None else waveform
        decompose(waveform, labels, sr=SR, config=CONFIG, n_steps=1, **options)

    def test_empty(self) -> None:
        with pytest.raises(ValueError, match="the score holds no notes"):
            self.run(notes())

    def test_all_outside(self) -> None:
        with pytest.raises(ValueError, match=r"no note .* 2\.0 s: the first begins at 5\.0 s"):
            self.run(notes((5, 6, 60), (7, 8, 62)))

    def test_some_outside(self) -> None:
        with pytest.warns(UserWarning, match=r"1 of 2 notes lie outside .* begins at 7\.0 s"):
            self.run(notes((0, 1, 48), (7, 8, 62)))

    def test_nan(self) -> None:
        broken = self.WAVEFORM.copy()
        broken[17] = np.nan
        with pytest.raises(ValueError, match="1 NaN or infinite values, the first at sample 17"):
            self.run(SCORE, broken)

    def test_another_piece(self) -> None:
        rng = np.random.default_rng(0)
        onsets = np.arange(16) * 0.12

        def piece(pitches: np.ndarray) -> Labels:
            return notes(*((t, t + 0.3, p) for t, p in zip(onsets, pitches, strict=True)))

        right = piece(48 + rng.integers(0, 24, 16))
        waveform = played(right).sum(0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.run(right, waveform)
        with pytest.warns(UserWarning, match="does not fit the recording"):
            self.run(piece(48 + rng.integers(0, 24, 16)), waveform)

    def test_options(self) -> None:
        with pytest.raises(ValueError, match="constraints must be one of"):
            self.run(SCORE, constraints="all")
        with pytest.raises(ValueError, match="onset templates need"):
            self.run(SCORE, constraints="templates", onset_templates=True)
