"""Crops of stems: from folders, and through musdb18's package."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from dds_fast.datasets import musdb18, stem_folder
from dds_fast.flows import FloWaveNetBank
from dds_fast.flows.training.loop import TrainingConfig, train
from dds_fast.flows.training.waves import WaveTraining

SR = 8000


def write_track(folder: Path, random_state: int, sources: tuple[str, ...], n: int = 4000) -> None:
    rng = np.random.default_rng(random_state)
    folder.mkdir(parents=True)
    for source in (*sources, "mixture"):
        samples = 0.1 + 0.2 * rng.standard_normal((n, 2))
        soundfile.write(folder / f"{source}.wav", samples.clip(-1, 1), SR, subtype="FLOAT")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_track(tmp_path / "b", 0, ("vocals", "drums", "bass", "other"))
    write_track(tmp_path / "a", 1, ("vocals", "drums", "bass", "other"))
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_crops_of_a_folder(folder: Path) -> None:
    crops = stem_folder(folder, n_samples=500, crops_per_track=6, sr=SR)
    assert crops.sources == ("drums", "bass", "other", "vocals") and len(crops) == 12
    firsts = []
    for item in range(12):
        track = folder / ("a" if item < 6 else "b")
        assert crops[item].shape == (4, 500) and crops[item].dtype == np.float32
        for source, crop in zip(crops.sources, crops[item], strict=True):
            left = soundfile.read(track / f"{source}.wav", dtype="float32")[0][:, 0]
            left = left - left.mean()
            left /= np.abs(left).max()
            windows = np.lib.stride_tricks.sliding_window_view(left, 500)
            (first,) = np.flatnonzero(np.abs(windows - crop).max(axis=1) < 1e-5)
            firsts.append(int(first))
    # All stems of an item begin at the same sample, items at others.
    by_item = np.array(firsts).reshape(12, 4)
    assert (by_item == by_item[:, :1]).all() and len(set(by_item[:, 0])) > 9


def test_items_are_the_same_again(folder: Path) -> None:
    settings = {"n_samples": 100, "crops_per_track": 3, "sr": SR}
    first, again = (stem_folder(folder, **settings) for _ in range(2))
    assert np.array_equal(first[4], again[4])
    assert not np.array_equal(first[4], stem_folder(folder, random_state=1, **settings)[4])


def test_resampled_to_the_rate_of_the_thesis(folder: Path) -> None:
    crops = stem_folder(folder, ("bass", "drums"), n_samples=7000)
    assert crops.sr == 14_700 and crops[0].shape == (2, 7000)
    # 4000 samples at 8 kHz are 7350.
    with pytest.raises(ValueError, match="track 0 has 7350 samples at 14700 Hz"):
        stem_folder(folder, ("bass",), n_samples=7351)[0]


def test_other_sources_than_those_of_musdb(tmp_path: Path) -> None:
    write_track(tmp_path / "one", 0, ("violin", "cello"))
    write_track(tmp_path / "two", 1, ("cello", "viola", "violin"))
    assert stem_folder(tmp_path).sources == ("cello", "violin")


def test_silent_stems_stay_silent(tmp_path: Path) -> None:
    write_track(tmp_path / "one", 0, ("drums", "bass"))
    soundfile.write(tmp_path / "one" / "bass.wav", np.zeros(4000), SR)
    item = stem_folder(tmp_path, n_samples=100, sr=SR)[0]
    assert not item[0].any() and item[1].any()


def test_bad_folders(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder of stems"):
        stem_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no stems found"):
        stem_folder(folder / "empty")
    with pytest.raises(ValueError, match="no audio file for the source 'oboe'"):
        stem_folder(folder, ("bass", "oboe"))
    with pytest.raises(ValueError, match="n_samples must be"):
        stem_folder(folder, n_samples=0)
    write_track(folder / "c", 2, ("oboe",))
    with pytest.raises(ValueError, match="no source in common"):
        stem_folder(folder)


@pytest.fixture
def musdb_tree(tmp_path: Path) -> Path:
    """Two tracks and one in the layout of the WAV edition: 44.1 kHz, stereo, 16 bits, stems that
    add up to the mixture; every source a tone, on the right a tone of its own."""
    t = np.arange(44_100) / 44_100
    for subset, titles in (("train", ("A - One", "B - Two (live)")), ("test", ("C - Three",))):
        for track, title in enumerate(titles):
            (tmp_path / subset / title).mkdir(parents=True)
            mixture = np.zeros((44_100, 2))
            for number, source in enumerate(SOURCES):
                hertz = 110.0 * (1 + number + 4 * track)
                left, right = (0.1 * np.sin(2 * np.pi * h * t + number) for h in (hertz, 2000.0))
                stem = np.stack([left + 0.02, right], axis=1)
                mixture += stem
                path = tmp_path / subset / title / f"{source}.wav"
                soundfile.write(path, stem, 44_100, subtype="PCM_16")
            path = tmp_path / subset / title / "mixture.wav"
            soundfile.write(path, mixture, 44_100, subtype="PCM_16")
    return tmp_path


SOURCES = ("bass", "drums", "other", "vocals")


def tone_in(x: np.ndarray, hertz: float) -> float:
    """Amplitude of a tone at 14.7 kHz, which must be all that there is."""
    angle = 2 * np.pi * hertz * np.arange(len(x)) / 14_700
    basis = np.stack([np.sin(angle), np.cos(angle), np.ones(len(x))], axis=1)
    (*both, _), (residual,), *_ = np.linalg.lstsq(basis, x.astype(float), rcond=None)
    assert residual < 1e-4 * np.square(x).sum()
    return float(np.hypot(*both))


def test_musdb18_as_wav(musdb_tree: Path) -> None:
    """The left channel at 14.7 kHz, without its mean, scaled to a peak of one."""
    crops = musdb18(musdb_tree, n_samples=2940, crops_per_track=5)
    assert crops.sources == ("drums", "bass", "other", "vocals") and crops.sr == 14_700
    assert (len(crops), len(musdb18(musdb_tree, "test", crops_per_track=5))) == (10, 5)
    whole = musdb18(musdb_tree, n_samples=14_700, crops_per_track=1)
    for track in range(2):
        for number, stem in zip((1, 0, 2, 3), whole[track], strict=True):
            hertz = 110.0 * (1 + number + 4 * track)
            assert abs(stem).max() == pytest.approx(1, abs=1e-6)
            assert stem.mean() == pytest.approx(0, abs=1e-6)
            amplitude = tone_in(stem[1000:-1000], hertz)
            for item in (0, 3):
                crop = crops[5 * track + item][crops.sources.index(SOURCES[number])]
                assert tone_in(crop, hertz) == pytest.approx(amplitude, rel=0.01)


def test_waveform_priors_learn_from_musdb18(musdb_tree: Path) -> None:
    crops = musdb18(musdb_tree, n_samples=1024)
    bank = FloWaveNetBank(4, n_blocks=2, n_flows=1, width=4, n_layers=2)
    config = TrainingConfig(max_epochs=1, learning_rate=3e-3, one_cycle=False, batch_size=2)
    task = WaveTraining(bank, crops, crops, config, torch.device("cpu"), crop=256, n_batches=2)
    history = train(task, config)["history"]
    assert task.groups == [f"source {name}" for name in ("drums", "bass", "other", "vocals")]
    assert np.isfinite(history[-1]["validation"])


def test_a_track_of_musdb18_lacks_a_source(musdb_tree: Path) -> None:
    (musdb_tree / "train/A - One/vocals.wav").unlink()
    with pytest.raises(ValueError, match="A - One has no audio file for the source 'vocals'"):
        musdb18(musdb_tree)


def test_musdb18_through_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A stand-in with the parts of musdb's interface that are used."""
    rng = np.random.default_rng(0)
    stems = {
        name: SimpleNamespace(audio=rng.standard_normal((3000, 2)))
        for name in ("vocals", "drums", "bass", "other", "accompaniment")
    }
    asked = []

    def DB(root: str, subsets: list[str]) -> list[SimpleNamespace]:  # noqa: N802
        asked.append((root, subsets))
        return [SimpleNamespace(targets=stems, rate=SR)] if subsets == ["train"] else []

    monkeypatch.setitem(sys.modules, "musdb", SimpleNamespace(DB=DB, MultiTrack=SimpleNamespace))
    crops = musdb18(tmp_path, n_samples=3000, sr=SR)
    assert asked == [(str(tmp_path), ["train"])]
    assert crops.sources == ("drums", "bass", "other", "vocals")
    left = stems["drums"].audio[:, 0] - stems["drums"].audio[:, 0].mean()
    np.testing.assert_allclose(crops[0][0], left / np.abs(left).max(), atol=1e-6)
    with pytest.raises(ValueError, match="no tracks of musdb18"):
        musdb18(tmp_path, "test")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "musdb", None)
    with pytest.raises(ImportError, match="pip install musdb"):
        musdb18(tmp_path)
