"""Stems at the recording's own rate, and their files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dds_fast import audio
from dds_fast.audio import stem_files, stems
from dds_fast.audio.masks import Magnitudes
from dds_fast.audio.samples import Samples
from dds_fast.audio.spectra import SpectrogramConfig
from dds_fast.audio.stems import Grid, Stems
from dds_fast.separation import Separation

CONFIG = SpectrogramConfig(sr=8000, n_fft=256, hop=64, gamma=0)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, shape)


def random_parts(n_stems: int, n_frames: int) -> Magnitudes:
    values = np.random.default_rng(1).random((n_stems, CONFIG.n_features, n_frames)) ** 4
    return lambda first, end: list(values[..., first:end])


def made(waveform: np.ndarray, sr: float, magnitudes: Callable | None = None) -> Stems:
    seconds = waveform.shape[-1] / sr
    n_frames = audio.n_frames(round(seconds * CONFIG.sr), CONFIG)
    magnitudes = magnitudes or random_parts(3, n_frames)
    return Stems(magnitudes, 3, Samples.of_array(waveform, sr), CONFIG, n_frames)


@pytest.mark.parametrize("sr", [4000, 8000, 11025, 44100, 96000])
@pytest.mark.parametrize("seconds", [0.05, 0.7, 1.001])
def test_stems_sum_to_every_channel(sr: int, seconds: float) -> None:
    waveform = noise(2, round(sr * seconds))
    found = made(waveform, sr).waveforms
    assert found.shape == (3, *waveform.shape)
    np.testing.assert_allclose(found.sum(0), waveform, atol=1e-10)


@pytest.mark.parametrize("sr", [8000, 22050])
def test_blocks_are_what_the_whole_is(sr: int, monkeypatch: pytest.MonkeyPatch) -> None:
    waveform = noise(2, 5 * sr)
    whole = made(waveform, sr).waveforms
    monkeypatch.setattr(stems, "ROOM", 1)
    blocks = list(made(waveform, sr).blocks())
    assert len(blocks) > 30
    np.testing.assert_allclose(np.concatenate([b for b, _ in blocks], axis=-1), whole, atol=1e-10)
    assert np.array_equal(np.concatenate([r for _, r in blocks], axis=-1), waveform)


def test_a_file_is_read_as_the_array_that_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stems, "ROOM", 1)
    waveform = noise(2, 40000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", waveform.T, 8000, subtype="FLOAT")
    n_frames = audio.n_frames(40000, CONFIG)
    of_file = Stems(
        random_parts(3, n_frames), 3, Samples.of_file(tmp_path / "a.wav", 40000), CONFIG, n_frames
    )
    np.testing.assert_array_equal(of_file.waveforms, made(waveform, 8000).waveforms)
    soundfile.write(tmp_path / "a.wav", waveform.T[:30000], 8000, subtype="FLOAT")
    with pytest.raises(ValueError, match="has changed since it was analysed"):
        _ = of_file.waveforms
    soundfile.write(tmp_path / "a.wav", waveform[0], 8000, subtype="FLOAT")
    with pytest.raises(ValueError, match="has changed since it was analysed"):
        _ = of_file.waveforms


def test_masks_are_where_they_were_analysed() -> None:
    # The first stem is all below 1 kHz until half a second, then all above; at six times the rate.
    n_frames = 126

    def bands(first: int, end: int) -> Iterator[np.ndarray]:
        low = (CONFIG.frequencies < 1000)[:, None] == (np.arange(first, end) < n_frames // 2)
        yield from (low.astype(float), (~low).astype(float), np.zeros(low.shape))

    t = np.arange(48000) / 48000
    low, high = np.sin(2 * np.pi * 500 * t), np.sin(2 * np.pi * 2500 * t)
    first, second, third = made(low + high, 48000, bands).waveforms
    early, late = slice(2000, 22000), slice(26000, 46000)
    for found, wanted, place in [
        (first, low, early),
        (first, high, late),
        (second, high, early),
        (second, low, late),
        (third, 0 * low, slice(None)),
    ]:
        np.testing.assert_allclose(found[place], (wanted + 0 * low)[place], atol=0.01)


def test_above_the_band_stems_share_as_in_its_highest_octave() -> None:
    # Twice as loud in the highest octave is four times the power; one does not sound there.
    high = CONFIG.frequencies > 1990
    parts = [(2.0 * high)[:, None], (1.0 * high)[:, None], (5.0 * ~high)[:, None]]
    grid = Grid(CONFIG, n_frames=1, sr=32000)
    found = grid.masks(parts)[..., 0]
    above = grid.bins > CONFIG.n_features
    np.testing.assert_allclose(found.sum(0), 1)
    np.testing.assert_allclose(found[:, above].T, [[0.8, 0.2, 0]] * above.sum(), atol=1e-5)


def test_the_octave_ends_where_resampling_begins_to_cut() -> None:
    """A tenth of the band is not asked: what is loud there alone gets nothing above."""
    n = CONFIG.n_features
    edge = np.arange(n) >= int(0.9 * n)
    found = Grid(CONFIG, n_frames=1, sr=32000).masks([(1.0 * ~edge)[:, None], 9.0 * edge[:, None]])
    np.testing.assert_allclose(found[0, -1], 1, atol=1e-4)


def test_above_the_band_nothing_is_lost() -> None:
    # What sounds above the band goes with the one stem that sounds below.
    t = np.arange(44100) / 44100
    waveform = np.sin(2 * np.pi * 9000 * t)

    def parts(first: int, end: int) -> list[np.ndarray]:
        one = np.ones((CONFIG.n_features, end - first))
        return [one, 0 * one, 0 * one]

    first, second, third = made(waveform, 44100, parts).waveforms
    np.testing.assert_allclose(first, waveform, atol=1e-9)
    assert not second.any() and not third.any()


@pytest.mark.parametrize("bits", [8, 16, 24])
def test_integers_sum_to_the_recording(bits: int) -> None:
    rng = np.random.default_rng(0)
    recording = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (2, 1000)) / 2.0 ** (bits - 1)
    # Stems far beyond full scale that oppose each other.
    block = rng.normal(0, 2, (4, 2, 1000))
    block[-1] += recording - block.sum(0)
    parts = np.stack(list(stem_files.integers(block, recording, bits))).astype(np.int64)
    assert np.array_equal(parts.sum(0), (recording * 2.0**31).astype(np.int64))
    inside = (np.abs(block) < 0.9).all(0)
    within = np.abs(parts / 2.0**31 - block)[:, inside]
    assert inside.sum() > 30 and within.max() <= 2.0 ** (2 - bits)


def test_loud_stems_are_held_and_told_of(tmp_path: Path) -> None:
    opposing = np.array([[0.5, 1.5, -1.2], [0.1, -0.9, 0.7]])
    loud = Separation(("a", "b"), opposing, sr=8000)
    with pytest.warns(UserWarning, match=r"a\.wav peaks 3.5 dB above full scale"):
        loud.save(tmp_path, subtype="PCM_16")
    a, b = (soundfile.read(tmp_path / f"{name}.wav")[0] for name in "ab")
    np.testing.assert_allclose(a, [0.5, 1, -1], atol=1e-4)
    np.testing.assert_allclose(a + b, opposing.sum(0), atol=1e-4)
    loud.save(tmp_path / "floats")
    assert soundfile.read(tmp_path / "floats" / "a.wav")[0].tolist() == pytest.approx(
        [0.5, 1.5, -1.2]
    )


def test_files(tmp_path: Path) -> None:
    found = Separation(("r/h", "C♯4"), np.array([[0.5, -2.0], [0.0, 0.0]]), sr=8000)
    paths = found.save(tmp_path)
    assert [path.name for path in paths] == ["r_h.wav", "C♯4.wav"]
    samples, sr = soundfile.read(paths[0])
    assert samples.tolist() == [0.5, -2.0] and sr == 8000
    assert all(stem_files.is_stem(path) for path in paths)
    (tmp_path / "C♯4.wav").unlink()
    with pytest.raises(FileExistsError):
        found.save(tmp_path)
    assert not (tmp_path / "C♯4.wav").exists()
    for names in (("a/b", "a_b"), ("Kick", "kick"), ("é", "e\u0301")):
        with pytest.raises(ValueError, match="would both"):
            Separation(names, np.zeros((2, 2)), sr=8000).save(tmp_path, overwrite=True)
    with pytest.raises(ValueError, match="samples are PCM_S8"):
        found.save(tmp_path / "x", subtype="ULAW")
    with pytest.raises(ValueError, match="no sound"):
        Separation(("a",), np.zeros((1, 2))).save(tmp_path / "x")
    assert not list(tmp_path.glob("x/*"))


def test_large_recordings_become_rf64() -> None:
    long = Samples(Path("a.wav"), 44100, 2, 10**9, False, "WAV", "PCM_24")
    assert stem_files.Kind.of(long) == stem_files.Kind("RF64", "PCM_24")


def test_as_a_mapping_and_as_an_array() -> None:
    found = Separation((60, "kick"), np.eye(2), sr=8000)
    assert dict(found).keys() == {60, "kick"} and np.asarray(found).tolist() == np.eye(2).tolist()
    assert found["kick"].tolist() == [0, 1] and len(found) == 2
    with pytest.raises(KeyError):
        found["snare"]
    with pytest.raises(ValueError, match="1 names for 2 stems"):
        Separation(("a",), np.eye(2))
    with pytest.raises(ValueError, match="two stems have one name: a, a"):
        Separation(("a", "a"), np.eye(2))
