"""Scores, by hand and against mir_eval."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import librosa
import mir_eval
import numpy as np
import pytest
import soundfile
from tiny import FRAME, dictionary, handmade, recording

import dds_fast
from dds_fast import Decomposition
from dds_fast.datasets import Labels
from dds_fast.metrics import (
    best_threshold,
    bss_eval,
    evaluate,
    frame_scores,
    note_scores,
    psa,
    reconstruction,
    si_sdr,
    sparsity,
)
from dds_fast.notes.found import Detection


def decomposition(activations: Any, **changes: Any) -> Decomposition:
    return handmade(activations, **{"detection": Detection.at(0.5), **changes})


def labels(*notes: tuple[float, float, int]) -> Labels:
    """Labels from (first frame, end frame, pitch), with onsets between frame centres."""
    table = np.array(notes, dtype=float).reshape(-1, 3)
    return Labels((table[:, :2] - 0.5) * FRAME, table[:, 2].astype(int), np.full(len(table), 64))


class TestPsa:
    @pytest.mark.parametrize(
        ("H", "Y", "expected"),
        [
            ([[3, 0], [1, 0]], [[1, 1], [0, 0]], 0.75),
            ([[3, 0], [1, 0]], [[0, 0], [0, 0]], 0.0),
            ([[3, 0], [1, 0]], [[1, 1], [1, 1]], 1.0),
            ([[1, 2, 3], [4, 5, 6]], [[1, 0, 1], [0, 1, 0]], 9 / 21),
        ],
    )
    def test_by_hand(self, H: list, Y: list, expected: float) -> None:
        assert psa(np.array(H, float), np.array(Y)) == pytest.approx(expected)

    def test_scale_does_not_matter(self) -> None:
        H, Y = np.random.default_rng(0).random((3, 50)), np.arange(150).reshape(3, 50) % 3 == 0
        assert psa(1e-3 * H, Y) == pytest.approx(psa(H, Y))

    def test_sums_in_double_precision(self) -> None:
        H = np.full((2, 1 << 19), 0.1, np.float32)
        Y = np.zeros_like(H, dtype=bool)
        Y[0] = True
        assert psa(H, Y) == pytest.approx(0.5, abs=1e-12)

    def test_silence_is_nan_with_a_warning(self) -> None:
        with pytest.warns(UserWarning, match="all zero"):
            assert np.isnan(psa(np.zeros((2, 3)), np.ones((2, 3))))

    @pytest.mark.parametrize("score", [psa, best_threshold, lambda H, Y: frame_scores(H, Y, 0.1)])
    @pytest.mark.parametrize(
        ("H", "message"),
        [
            (np.ones((2, 4)), r"\(2, 4\).*\(2, 3\)"),
            (np.ones(6), "shape"),
            (np.full((2, 3), np.nan), "NaN"),
            (np.full((2, 3), -1.0), "negative"),
        ],
        ids=["shape", "1-d", "nan", "negative"],
    )
    def test_bad_input(self, score: Any, H: np.ndarray, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            score(H, np.ones((2, 3)))


class TestSparsity:
    @pytest.mark.parametrize(
        ("eps", "expected"), [(0.0, 0.25), (0.001, 0.5), (0.009, 0.5), (0.5, 0.75), (1.0, 1.0)]
    )
    def test_by_hand(self, eps: float, expected: float) -> None:
        assert sparsity(np.array([[0.5, 0.001], [0.0, 1.0]]), eps) == expected


class TestThresholds:
    def test_frame_scores_by_hand(self) -> None:
        H = np.array([[0.9, 0.2, 0.6], [0.5, 0.8, 0.1]])
        Y = np.array([[1, 1, 0], [0, 1, 0]])
        scores = frame_scores(H, Y, 0.5)
        assert scores == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3})

    def test_nothing_found(self) -> None:
        scores = frame_scores(np.zeros((2, 3)), np.ones((2, 3)), 0.5)
        assert scores == {"precision": 0, "recall": 0, "f1": 0}

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("random_state", range(5))
    def test_best_threshold_against_brute_force(self, dtype: type, random_state: int) -> None:
        rng = np.random.default_rng(random_state)
        Y = rng.random((4, 30)) < 0.2
        H = (rng.random((4, 30)) * (1 + Y)).astype(dtype).round(2)
        scores = [frame_scores(H, Y, t)["f1"] for t in [-1, *np.unique(H).tolist()]]
        threshold, f1 = best_threshold(H, Y)
        assert f1 == pytest.approx(max(scores))
        assert frame_scores(H, Y, threshold)["f1"] == pytest.approx(f1)

    def test_separable(self) -> None:
        H, Y = np.array([[0.1, 0.2, 0.7, 0.9]]), np.array([[0, 0, 1, 1]])
        threshold, f1 = best_threshold(H, Y)
        assert f1 == 1
        assert 0.2 <= threshold < 0.7


class TestNoteScores:
    REFERENCE = (np.array([[0.1, 0.5], [0.6, 1.0], [0.6, 1.0]]), np.array([60, 64, 67]))

    @pytest.mark.parametrize(
        ("intervals", "pitches", "onset", "both"),
        [
            ([[0.1, 0.5], [0.6, 1.0], [0.6, 1.0]], [60, 64, 67], 1, 1),
            ([[0.14, 0.5], [0.6, 1.3], [0.6, 1.0]], [60, 64, 67], 1, 2 / 3),
            ([[0.16, 0.5], [0.6, 1.0], [0.6, 1.0]], [60, 64, 67], 2 / 3, 2 / 3),
            ([[0.1, 0.5], [0.6, 1.0], [0.6, 1.0]], [61, 64, 67], 2 / 3, 2 / 3),
            ([[0.1, 0.5]], [60], 0.5, 0.5),
        ],
        ids=["same", "offset", "late", "pitch", "missing"],
    )
    def test_by_hand(self, intervals: list, pitches: list, onset: float, both: float) -> None:
        scores = note_scores(*self.REFERENCE, np.array(intervals), np.array(pitches))
        assert scores == pytest.approx({"onset_f1": onset, "onset_offset_f1": both})

    @pytest.mark.parametrize("random_state", range(3))
    def test_against_mir_eval(self, random_state: int) -> None:
        rng = np.random.default_rng(random_state)
        onsets, pitches = np.sort(rng.random(20) * 5), rng.integers(60, 65, 20)
        reference = np.stack([onsets, onsets + 0.1 + rng.random(20)], 1)
        found = reference + rng.uniform(0, [0.06, 0.3], size=(20, 2))
        hertz = librosa.midi_to_hz(pitches)
        expected = [
            mir_eval.transcription.precision_recall_f1_overlap(
                reference, hertz, found, hertz, offset_ratio=ratio
            )[2]
            for ratio in (None, 0.2)
        ]
        scores = note_scores(reference, pitches, found, pitches)
        assert list(scores.values()) == pytest.approx(expected)
        assert expected[1] < expected[0] <= 1

    def test_no_notes_found(self) -> None:
        scores = note_scores(*self.REFERENCE, np.array([]), np.array([]))
        assert scores == {"onset_f1": 0, "onset_offset_f1": 0}


class TestEvaluate:
    def test_by_hand(self) -> None:
        H = np.zeros((3, 60))
        H[0, 10:30] = 1.0
        H[1, 20:30] = 0.25
        scores = evaluate(decomposition(H), labels((10, 30, 60)))
        assert scores["psa"] == pytest.approx(20 / 22.5)
        assert scores["l0(0.01)"] == pytest.approx(1 - 30 / 60)
        assert (scores["upper_threshold"], scores["lower_threshold"]) == (0.5, 0.5)
        assert scores["frame_precision"] == scores["frame_recall"] == scores["frame_f1"] == 1
        assert scores["frame_f1_at_best_threshold"] == 1
        assert scores["note_onset_f1"] == scores["note_onset_offset_f1"] == 1

    def test_only_live_frames_are_scored(self) -> None:
        H = np.zeros((3, 60))
        H[0, 10:30] = 1.0
        H[2, 40:60] = 5.0  # nobody plays here
        scores = evaluate(decomposition(H), labels((10, 30, 60)))
        assert scores["psa"] == 1
        assert scores["frame_precision"] == 1
        assert scores["note_onset_f1"] == pytest.approx(2 / 3)

    def test_frames_are_those_of_the_notes_found(self) -> None:
        H = np.zeros((3, 60))
        H[0, 10:30] = 0.6
        H[0, 15] = 1.0  # the only frame above the upper threshold
        H[0, 20:22] = 0.0  # a short pause
        H[1, 10:14] = 1.0  # too short for a note
        scores = evaluate(decomposition(H, detection=Detection(0.9, 0.5)), labels((10, 30, 60)))
        assert scores["frame_f1"] == 1
        assert scores["frame_f1_at_best_threshold"] < 1

    def test_pitches_that_are_no_source_are_dropped(self) -> None:
        H = np.zeros((3, 60))
        H[0, 10:30] = 1.0
        H[1, 40:60] = 1.0
        with_others = labels((10, 30, 60), (40, 60, 61), (0, 60, 21))
        scores = evaluate(decomposition(H), with_others)
        assert scores == evaluate(decomposition(H), labels((10, 30, 60)))
        assert scores["psa"] == scores["frame_recall"] == 1

    def test_label_delay_moves_the_labels(self) -> None:
        H = np.zeros((3, 60))
        H[0, 20:40] = 1.0
        early = labels((10, 30, 60))
        assert evaluate(decomposition(H), early)["frame_recall"] == 0.5
        delayed = evaluate(decomposition(H), early, label_delay=10 * FRAME)
        assert delayed["frame_recall"] == delayed["frame_precision"] == 1
        assert delayed["note_onset_f1"] == 1

    def test_labels_moved_before_the_start(self) -> None:
        H = np.zeros((3, 60))
        H[0, 0:20] = 1.0
        scores = evaluate(decomposition(H), labels((5, 25, 60)), label_delay=-10 * FRAME)
        assert scores["frame_precision"] == pytest.approx(1)
        assert scores["note_onset_f1"] == 1

    def test_labels_of_no_length_are_harmless(self) -> None:
        H = np.zeros((3, 60))
        H[0, 10:30] = 1.0
        scores = evaluate(decomposition(H), labels((10, 30, 60), (15, 15, 64)))
        assert scores["psa"] == 1
        assert 0 < scores["note_onset_f1"] <= 1

    def test_a_silent_result_is_scored(self) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            scores = evaluate(decomposition(np.zeros((3, 60))), labels((10, 30, 60)))
        assert any("PSA" in str(w.message) for w in caught)
        assert np.isnan(scores["psa"])
        assert scores["l0(0.01)"] == 1
        assert scores["frame_f1"] == scores["note_onset_f1"] == 0

    @pytest.mark.parametrize(
        "wrong",
        [labels(), labels((10, 30, 61)), labels((100, 120, 60))],
        ids=["none", "other-pitch", "after-the-end"],
    )
    def test_nothing_to_score(self, wrong: Labels) -> None:
        with pytest.raises(ValueError, match="no reference note"):
            evaluate(decomposition(np.ones((3, 60))), wrong)

    def test_names_score_as_numbers_do(self) -> None:
        H = np.random.default_rng(0).random((3, 60))
        given = labels((10, 30, 60), (20, 50, 67))
        named = replace(given, pitches=np.full(2, -1), tracks=np.array(["Kick", "hat"]))
        instruments = replace(given, tracks=np.array(["a", "b"]))
        scores = evaluate(decomposition(H), given)
        assert evaluate(decomposition(H, sources=("kick", "snare", "hat")), named) == scores
        keys = "a/60", "a/67", "b/67"
        assert evaluate(decomposition(H, sources=keys), instruments) == scores
        with pytest.raises(ValueError, match="no reference note"):
            evaluate(decomposition(H, sources=keys), named)


class TestReconstruction:
    def test_by_hand(self) -> None:
        X = np.array([[1.0, 0.0, 2.0], [0.0, 2.0, 0.0]])
        found = np.array([[0.5, 0.0, 2.5], [0.5, 1.0, -0.5]])
        # Sums over the bins of 1, 1 and 1; squares of 4 * 0.25 + 1 over those of 9.
        assert reconstruction(X, found) == {
            "reconstruction_error": pytest.approx(1.0),
            "relative_error": pytest.approx(2**0.5 / 3),
        }
        scores = reconstruction(np.float32(X), np.float32(X))
        assert scores == {"reconstruction_error": 0, "relative_error": 0}
        assert np.isnan(reconstruction(np.zeros((2, 3)), found)["relative_error"])

    def test_bad_input(self) -> None:
        with pytest.raises(ValueError, match=r"\(2, 3\).*\(2, 2\)"):
            reconstruction(np.ones((2, 3)), np.ones((2, 2)))
        with pytest.raises(ValueError, match=r"F and T above 0"):
            reconstruction(np.ones((2, 0)), np.ones((2, 0)))
        with pytest.raises(ValueError, match="the approximation holds 6 NaN"):
            reconstruction(np.ones((2, 3)), np.full((2, 3), np.nan))

    def test_of_a_recording(self, tmp_path: Path) -> None:
        path = Path(recording(tmp_path / "tone.wav"))
        reference = Labels(np.array([[0.0, 0.3]]), np.array([60]), np.array([64.0]))
        result = dds_fast.decompose(path, dictionary("nmf"), max_steps=20)
        scores = evaluate(result, reference)
        padded = np.pad(soundfile.read(path)[0], 64, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, 128)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(128) / 128)
        A = np.abs(np.fft.rfft(frames[::64] * window)[:, 1:]).T * 2 / 63.5 * result.gain
        X = np.log1p(1e4 * A) / np.log1p(1e4)
        W, H = result
        expected = np.abs(X - W @ H).sum(0).mean()
        assert scores["reconstruction_error"] == pytest.approx(expected, rel=1e-3)
        error = np.linalg.norm(X - W @ H) / np.linalg.norm(X)
        assert scores["relative_error"] == pytest.approx(error, rel=1e-3)
        result.save(tmp_path / "r.npz")
        again = Decomposition.load(tmp_path / "r.npz")
        assert "relative_error" not in evaluate(again, reference)
        assert evaluate(again, reference, recording=path) == scores
        bare = result.without_components()
        assert "relative_error" not in evaluate(bare, reference)
        with pytest.raises(ValueError, match="dropped"):
            evaluate(bare, reference, recording=path)


def sources(n: int = 2000) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, n))


def by_filters(references: np.ndarray, estimate: np.ndarray, target: int) -> tuple[float, ...]:
    """SDR, SIR and SAR by projections on all delayed references, written out."""
    n = references.shape[1]

    def delayed(reference: np.ndarray) -> np.ndarray:
        columns = np.zeros((n + 511, 512))
        for delay in range(512):
            columns[delay : delay + n, delay] = reference
        return columns

    def projection(basis: np.ndarray, padded: np.ndarray) -> np.ndarray:
        return basis @ np.linalg.solve(basis.T @ basis, basis.T @ padded)

    padded = np.concatenate([estimate, np.zeros(511)])
    bases = [delayed(reference) for reference in references]
    wanted = projection(bases[target], padded)
    both = projection(np.concatenate(bases, axis=1), padded)

    def decibels(signal: np.ndarray, noise: np.ndarray) -> float:
        return float(10 * np.log10((signal**2).sum() / (noise**2).sum()))

    return (
        decibels(wanted, padded - wanted),
        decibels(wanted, both - wanted),
        decibels(both, padded - both),
    )


class TestSeparation:
    def test_bss_eval_against_projections(self) -> None:
        references = sources()
        noise = np.random.default_rng(1).standard_normal(references.shape)
        estimates = references + 0.1 * references[::-1] + 0.05 * noise
        scores = bss_eval(references, estimates)
        for source in range(2):
            expected = by_filters(references, estimates[source], source)
            found = [scores[name][source] for name in ("sdr", "sir", "sar")]
            np.testing.assert_allclose(found, expected, rtol=1e-6)

    @pytest.mark.parametrize("n_sources", [1, 3])
    def test_bss_eval_is_mir_evals(self, n_sources: int) -> None:
        """As long as it has that module, deprecated since its 0.8."""
        separation = pytest.importorskip("mir_eval.separation")
        rng = np.random.default_rng(4)
        references = rng.standard_normal((n_sources, 6000))
        mixing = np.eye(n_sources) + 0.2 * rng.standard_normal((n_sources, n_sources))
        estimates = mixing @ references + 0.02 * rng.standard_normal(references.shape)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            *expected, _ = separation.bss_eval_sources(references, estimates, False)
        np.testing.assert_allclose(list(bss_eval(references, estimates).values()), expected)

    def test_bss_eval_of_references_that_are_one(self) -> None:
        reference = sources()[:1]
        scores = bss_eval(np.repeat(reference, 2, axis=0), np.repeat(reference, 2, axis=0) + 0.1)
        assert np.isfinite(scores["sdr"]).all() and (scores["sdr"] > 0).all()

    def test_bss_eval_searches_no_permutation_and_is_quiet(self) -> None:
        references = sources()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            scores = bss_eval(references, references[::-1] + 0.01 * references)
        assert (scores["sdr"] < 0).all() and (scores["sir"] < 0).all()

    def test_si_sdr_by_hand(self) -> None:
        references = np.array([[3.0, 0.0, 4.0], [0.0, 2.0, 0.0]])
        # Twice the reference and an orthogonal error of norm 1; an error as large as the target.
        estimates = np.array([[6.0, 1.0, 8.0], [5.0, 5.0, 0.0]])
        np.testing.assert_allclose(si_sdr(references, estimates), [20.0, 0.0], atol=1e-9)

    def test_si_sdr_does_not_mind_scales(self) -> None:
        references = sources()
        estimates = references + 0.3 * references[::-1]
        np.testing.assert_allclose(
            si_sdr(references, estimates), si_sdr(5 * references, -0.01 * estimates)
        )

    def test_si_sdr_of_a_copy_is_infinite(self) -> None:
        assert np.isposinf(si_sdr(np.array([[1.0, 2.0]]), np.array([[2.0, 4.0]]))).all()

    @pytest.mark.parametrize("score", [bss_eval, si_sdr])
    @pytest.mark.parametrize(
        ("references", "estimates", "message"),
        [
            (np.ones((2, 9)), np.ones((2, 8)), r"\(2, 9\).*\(2, 8\)"),
            (np.ones(9), np.ones(9), r"\(9,\)"),
            (np.ones((2, 0)), np.ones((2, 0)), r"\(2, 0\)"),
            (np.ones((2, 9)), np.array([np.ones(9), np.zeros(9)]), r"rows \[1\] of the estimates"),
            (np.zeros((1, 9)), np.ones((1, 9)), r"rows \[0\] of the references"),
            (np.ones((1, 2)), np.array([[1.0, np.nan]]), "the estimates holds 1 NaN.*sample 1"),
        ],
    )
    def test_bad_input(
        self, score: Any, references: np.ndarray, estimates: np.ndarray, message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            score(references, estimates)
