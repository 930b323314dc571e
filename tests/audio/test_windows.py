"""Long recordings: windows, and that nothing jumps where they meet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from tiny import CONFIG, tone
from tiny import dictionary as make

import dds_fast
from dds_fast import Decomposition, audio
from dds_fast.audio import windows


def long_tone(seconds: float = 6.0) -> np.ndarray:
    """Two tones that take turns, every third of a second."""
    n = round(seconds * 16000)
    turn = (np.arange(n) // 5333 % 2).astype(np.float32)
    return tone(n) * turn + tone(n, 700.0) * (1 - turn)


def searched(source: Any, kind: str = "dds3", *, window: float = 2.0, **options: Any) -> Any:
    dictionary = make(kind, search={kind: {"window_seconds": window}})
    if not isinstance(source, list | str | Path):
        options.setdefault("sr", 16000)
    return dds_fast.decompose(source, dictionary, **options)


@pytest.mark.parametrize("n_frames", [1, 59, 60, 61, 62, 99, 1000])
def test_spans_cover_a_recording_and_overlap(n_frames: int) -> None:
    spans = windows.spans(n_frames, length=40, overlap=4)
    assert spans[0][0] == 0 and spans[-1][1] == n_frames
    for (_, end), (first, _) in zip(spans[:-1], spans[1:], strict=True):
        assert end - first == 4
    assert all(end - first <= 60 for first, end in spans)
    weights = np.zeros(n_frames)
    for index, (first, end) in enumerate(spans):
        weights[first:end] += windows.fade(
            end - first, 4, rises=index > 0, falls=index < len(spans) - 1
        )
    np.testing.assert_allclose(weights, 1)


@pytest.mark.parametrize("kind", ["nmf", "dds2", "dds3"])
def test_windows_find_what_the_whole_finds(kind: str) -> None:
    """A window's entries are others: compared by what they explain."""
    recording = long_tone()
    whole, cut = searched(recording, kind, window=10.0), searched(recording, kind)
    assert len(whole.windows) == 1 and len(cut.windows) == 6
    assert cut.source_activations.shape == whole.source_activations.shape
    X = audio.spectrogram(recording * whole.gain, CONFIG).values
    errors = [np.linalg.norm(X - result.reconstruction()) for result in (whole, cut)]
    assert errors[1] < 1.1 * errors[0]


@pytest.mark.parametrize("kind", ["nmf", "dds3"])
def test_activations_do_not_jump_at_a_seam(kind: str) -> None:
    """Where windows meet, they change from frame to frame no more than elsewhere."""
    result = searched(tone(96000), kind)
    jumps = np.abs(np.diff(result.source_activations)).max(axis=0)
    at_seam = np.zeros(len(jumps), bool)
    for left, right in zip(result.windows[:-1], result.windows[1:], strict=True):
        at_seam[right.frames.start - 1 : left.frames.stop + 1] = True
    inside = jumps[~at_seam][2:-2]  # reflected edges are no steady tone
    assert jumps[at_seam].max() <= 1.1 * inside.max()


def test_parts_join(tmp_path: Path) -> None:
    result = searched(long_tone())
    J = sum(len(window.labels) for window in result.windows)
    assert result.components.shape == (64, J) and result.activations.shape == (J, result.n_frames)
    assert result.labels.shape == result.log_likelihoods.shape == (J,)
    np.testing.assert_allclose(
        result.components @ result.activations, result.reconstruction(), atol=1e-5
    )
    norms = np.linalg.norm(result.components, axis=0)[:, None]
    summed = np.stack([(norms * result.activations)[result.labels == s].sum(0) for s in range(3)])
    np.testing.assert_allclose(result.source_activations, summed, rtol=1e-4, atol=1e-6)
    assert result.n_steps == 6 * result.settings["max_steps"] and result.stop_reason == "max_steps"
    result.save(tmp_path / "r.npz")
    loaded = Decomposition.load(tmp_path / "r.npz")
    for name in ("components", "activations", "labels", "log_likelihoods", "source_activations"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(result, name))
    assert [w.first for w in loaded.windows] == [w.first for w in result.windows]


def test_stems_of_windows_sum_to_the_recording() -> None:
    recording = long_tone()
    result = searched(recording)
    np.testing.assert_allclose(result.separate().stems.sum(0), recording, atol=1e-5)


def test_tensors_stay_tensors() -> None:
    result = searched(torch.from_numpy(long_tone()))
    assert isinstance(result.activations, torch.Tensor)
    assert isinstance(result.source_activations, torch.Tensor)
    assert result.components.shape[1] == result.activations.shape[0] == len(result.labels)


def test_a_silent_window_is_silent() -> None:
    recording = long_tone(9.0)
    recording[40000:110000] = 0
    result = searched(recording)
    frames = slice(45000 // 64, 100000 // 64)
    assert not result.source_activations[:, frames].any()
    assert result.source_activations[:, -200:].any() and result.stop_reason == "max_steps"


def test_interruption_keeps_the_windows_that_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    original = sys.modules["dds_fast.batch"].run

    def interrupted(search: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        if calls < 3:
            return original(search, **options)
        for controller in search.controllers:
            controller.stop_reason = "interrupted"

    monkeypatch.setattr(sys.modules["dds_fast.batch"], "run", interrupted)
    result = searched(long_tone())
    assert result.stop_reason == "interrupted" and len(result.windows) == 3
    done = result.windows[1].frames
    assert result.source_activations[:, done].any()
    assert not result.source_activations[:, result.windows[2].frames.stop :].any()


def test_a_callback_stops_the_recording_not_the_list() -> None:
    reports: list[dict[str, Any]] = []

    def stop(report: dict[str, Any]) -> bool:
        reports.append(report)
        return len(reports) != 5

    first, second = searched([long_tone(), long_tone()], callback=stop, sr=16000)
    assert first.stop_reason == "callback" and len(first.windows) == 1
    assert second.stop_reason == "max_steps" and len(second.windows) == 6


def test_progress_counts_seconds_of_sound(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dds_fast.progress.BETWEEN_LINES", 1e-6)
    searched(long_tone(), progress=True)
    assert "6.0/6.0 s of sound" in capsys.readouterr().err


def test_any_frames_are_those_of_the_whole() -> None:
    waveform = long_tone()
    whole = audio.stft(waveform, CONFIG)
    n = audio.n_frames(len(waveform), CONFIG)
    assert whole.shape == (65, n)
    for first, end in ((0, 1), (0, 40), (17, 60), (n - 30, n), (0, n)):
        np.testing.assert_array_equal(
            audio.stft(waveform, CONFIG, (first, end)), whole[:, first:end]
        )


def test_files_are_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stereo = np.stack([long_tone(), 0.5 * long_tone()], axis=1)
    soundfile.write(tmp_path / "s.wav", stereo, 16000, subtype="FLOAT")
    whole, sr = audio.read_file(tmp_path / "s.wav")
    monkeypatch.setattr(audio.waveforms, "BLOCK", 1000)
    parts, _ = audio.read_file(tmp_path / "s.wav")
    assert sr == 16000
    np.testing.assert_array_equal(parts, whole)
    np.testing.assert_allclose(whole, stereo.mean(1), atol=1e-7)
