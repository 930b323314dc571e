"""Odd files: read with a warning, or refused by name."""

from __future__ import annotations

import os
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny import tone

from dds_fast import audio

CANCEL = "channels cancel.*channel 2"


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    """Two seconds."""
    soundfile.write(tmp_path / "a.wav", tone(32000), 16000)
    return tmp_path / "a.wav"


def quietly(path: Path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return audio.load(path, 16000)


@pytest.mark.parametrize(
    ("name", "form", "subtype"),
    [
        ("a.wav", "WAV", "PCM_16"),
        ("a.wav", "WAV", "FLOAT"),
        ("a.wav", "WAV", "IMA_ADPCM"),
        ("a.aiff", "AIFF", "PCM_24"),
        ("a.au", "AU", "PCM_16"),
        ("a.w64", "W64", "PCM_16"),
        ("a.rf64", "RF64", "PCM_16"),
        ("a.mp3", "MP3", "MPEG_LAYER_III"),
    ],
)
def test_cut_short(tmp_path: Path, name: str, form: str, subtype: str) -> None:
    path, noise = tmp_path / name, np.random.default_rng(0).normal(0, 0.1, 64000)
    soundfile.write(path, noise, 16000, format=form, subtype=subtype)
    whole = quietly(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match=rf"{name} is cut short: [12]\.\d\d s are missing"):
        half = audio.load(path, 16000)
    assert 0.4 * len(whole) < len(half) < 0.6 * len(whole)
    n = len(half) - 1200  # the end of an mp3 is damaged
    np.testing.assert_allclose(half[:n], whole[:n], atol=1e-6)


@pytest.mark.parametrize("promised", [0xFFFFFFFF, 0x7FFFFFFF], ids=hex)
def test_a_length_that_is_not_known_is_none_that_is_missing(wav: Path, promised: int) -> None:
    content = wav.read_bytes()
    place = content.index(b"data") + 4
    wav.write_bytes(content[:place] + struct.pack("<I", promised) + content[place + 4 :])
    assert len(quietly(wav)) == 32000


def test_a_header_that_tells_of_no_samples(wav: Path) -> None:
    content = wav.read_bytes()
    place = content.index(b"data") + 4
    wav.write_bytes(content[:place] + bytes(4) + content[place + 4 :])
    with pytest.raises(ValueError, match="a.wav holds no samples, for its header .* 64044 bytes"):
        audio.load(wav, 16000)
    soundfile.write(wav, np.zeros(0), 16000)
    with pytest.raises(ValueError, match="a.wav holds no samples$"):
        audio.load(wav, 16000)


@pytest.mark.parametrize("name", ["a.raw", "a.RAW", "a.au", "a.snd", "a.gsm", "a.vox"])
def test_without_a_header(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes((1000 * tone(4000)).astype("<i2").tobytes())
    with pytest.raises(ValueError, match=f"{name} has no header that tells its sampling rate"):
        audio.load(tmp_path / name, 16000)


@pytest.mark.skipif(os.name != "posix", reason="names are text there")
def test_a_name_that_is_no_utf8(wav: Path) -> None:
    path = wav.with_name(os.fsdecode(b"caf\xe9.wav"))
    wav.rename(path)
    assert len(quietly(path)) == 32000
    path.write_bytes(b"text")
    with pytest.raises(ValueError, match="not a readable audio file"):
        audio.load(path, 16000)


@pytest.mark.parametrize("suffix", ["opus", "oga", "caf", "w64", "au", "aifc", "wave"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    form, subtype = {
        "opus": ("OGG", "OPUS"),
        "oga": ("OGG", "VORBIS"),
        "caf": ("CAF", "PCM_16"),
        "w64": ("W64", "PCM_16"),
        "au": ("AU", "PCM_16"),
        "aifc": ("AIFF", "PCM_16"),
        "wave": ("WAV", "PCM_16"),
    }[suffix]
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(16000), 16000, format=form, subtype=subtype)
    np.testing.assert_allclose(quietly(path)[2000:14000], tone(16000)[2000:14000], atol=0.05)


class TestChannels:
    def test_inverted_in_a_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(audio.waveforms, "BLOCK", 1000)
        stereo = np.stack([-0.9 * tone(8000), tone(8000)], axis=1)
        soundfile.write(tmp_path / "a.wav", stereo, 16000, subtype="FLOAT")
        with pytest.warns(UserWarning, match=f"a.wav: its {CANCEL}"):
            taken = audio.load(tmp_path / "a.wav", 16000)
        np.testing.assert_allclose(taken, tone(8000), atol=1e-7)

    def test_inverted_in_memory(self) -> None:
        stereo = np.stack([-0.9 * tone(8000), tone(8000)])
        with pytest.warns(UserWarning, match=CANCEL):
            taken = audio.to_mono(stereo, sr=16000, target_sr=16000)
        np.testing.assert_array_equal(taken, stereo[1])

    @pytest.mark.parametrize(
        "gains",
        [(1, 1), (1, 0), (0, 0), (1, -0.5), (0, 0, 0, 0, 0, 0, 0, 1)],
        ids=["equal", "one silent", "silent", "partly", "one of eight"],
    )
    def test_others_are_averaged(self, gains: tuple[float, ...], tmp_path: Path) -> None:
        channels = np.outer(gains, tone(8000))
        soundfile.write(tmp_path / "a.wav", channels.T, 16000, subtype="DOUBLE")
        np.testing.assert_allclose(quietly(tmp_path / "a.wav"), channels.mean(0), atol=1e-6)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            mono = audio.to_mono(channels, sr=16000, target_sr=16000)
        np.testing.assert_array_equal(mono, channels.mean(0))


@pytest.mark.parametrize("peak", [3e38, -3e38, 1e12])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_numbers_that_are_no_samples(tmp_path: Path, peak: float, n_channels: int) -> None:
    samples = np.full((1000, n_channels), peak, np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"a\.wav: the waveform"), np.errstate(over="ignore"):
        audio.load(tmp_path / "a.wav", 16000)
    with pytest.raises(ValueError, match="the waveform's peak"):
        audio.to_mono(samples.T, sr=16000, target_sr=16000)


def test_integers_that_were_not_scaled_are_warned_of_alone() -> None:
    samples = np.float32(2**31) * tone(4000)
    assert len(audio.to_mono(samples, sr=16000, target_sr=16000)) == 4000
