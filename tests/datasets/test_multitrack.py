"""Crops of stems: from folders, and through musdb18's package."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from dds_fast.datasets import musdb18, stem_folder

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
