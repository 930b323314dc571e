"""Loading, the spectrogram by its formula, its inverse, frame times, and bad recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tiny import tone

from dds_fast import Spectrogram, SpectrogramConfig, audio


def by_definition(waveform: np.ndarray, n_fft: int, hop: int, gamma: float) -> np.ndarray:
    """The spectrogram written out from docs/method.md, frame by frame, in float64."""
    half = n_fft // 2
    padded = np.concatenate([waveform[half:0:-1], waveform, waveform[-2 : -half - 2 : -1]])
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    columns = []
    for start in range(0, len(waveform) + 1, hop):
        magnitude = np.abs(np.fft.fft(window * padded[start : start + n_fft]))
        columns.append(2 * magnitude[1 : half + 1] / np.hanning(n_fft).sum())
    return np.log(1 + gamma * np.stack(columns, axis=1)) / np.log(1 + gamma)


def snr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Signal-to-noise ratio in dB."""
    return 10 * np.log10(np.sum(reference**2) / np.sum((reference - estimate) ** 2))


class TestSpectrogram:
    @pytest.mark.parametrize(
        ("n_fft", "hop", "gamma", "n"),
        [(2048, 512, 1e4, 5000), (1024, 512, 1e4, 5000), (128, 64, 100.0, 1001), (64, 64, 1.0, 64)],
        ids=["F=1024", "F=512", "F=64", "one-window"],
    )
    def test_formula(self, n_fft: int, hop: int, gamma: float, n: int) -> None:
        waveform = np.random.default_rng(0).uniform(-1, 1, n)
        config = SpectrogramConfig(n_fft=n_fft, hop=hop, gamma=gamma)
        X = audio.spectrogram(waveform, config)
        assert X.config is config
        assert X.values.shape == (n_fft // 2, n // hop + 1)
        np.testing.assert_allclose(X.values, by_definition(waveform, n_fft, hop, gamma), atol=1e-10)

    @pytest.mark.parametrize("n_fft", [1024, 2048])
    def test_full_scale_sinusoid(self, n_fft: int) -> None:
        config = SpectrogramConfig(n_fft=n_fft)
        k = 64
        wave = np.cos(2 * np.pi * k * np.arange(8 * n_fft) / n_fft)
        X = audio.spectrogram(wave, config)
        A = np.expm1(X.values * np.log1p(1e4)) / 1e4
        middle = A[:, A.shape[1] // 2]
        assert int(middle.argmax()) == k - 1
        assert middle.max() == pytest.approx(n_fft / (n_fft - 1), rel=1e-6)
        assert config.frequencies[k - 1] == pytest.approx(k * 16000 / n_fft)

    def test_the_amplitude_at_the_larger_setting(self) -> None:
        wave = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
        X = audio.spectrogram(wave, SpectrogramConfig()).values
        assert np.expm1(X.max() * np.log1p(1e4)) / 1e4 == pytest.approx(1.0005, abs=1e-4)

    def test_dc_is_dropped_and_nyquist_kept(self) -> None:
        config = SpectrogramConfig(n_fft=128, hop=64)
        nyquist = audio.spectrogram((-1.0) ** np.arange(1000), config).values[:, 5]
        assert int(nyquist.argmax()) == 63
        dc = audio.spectrogram(np.ones(1000), config).values
        # Hann leaks DC into the bin above it, with half the amplitude, and no further.
        assert dc[0, 5] > 0.9
        assert np.abs(dc[1:]).max() < 1e-9

    def test_silence_is_zero(self) -> None:
        X = audio.spectrogram(np.zeros(4096), SpectrogramConfig())
        assert not X.values.any()

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_dtype_is_kept(self, dtype: type) -> None:
        config = SpectrogramConfig(n_fft=128, hop=64)
        values = audio.spectrogram(tone(dtype=dtype), config).values
        assert values.dtype == dtype
        assert audio.expand(values, config).dtype == dtype

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_expand_undoes_compress(self, dtype: type) -> None:
        config = SpectrogramConfig(n_fft=128, hop=64)
        magnitude = np.geomspace(1e-3, 60, 64 * 5).reshape(64, 5).astype(dtype)
        again = audio.expand(audio.compress(magnitude, config), config)
        np.testing.assert_allclose(again, magnitude, rtol=2e-5 if dtype == np.float32 else 1e-12)

    @pytest.mark.parametrize("window", ["hann", "sqrt_hann"])
    def test_gamma_zero_is_linear_and_a_full_scale_sinusoid_is_one(self, window: str) -> None:
        config = SpectrogramConfig(n_fft=1024, gamma=0, window=window)
        waveform = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
        values = audio.spectrogram(waveform, config).values
        np.testing.assert_allclose(values[:, 10].max(), 1, atol=5e-3)
        halved = audio.spectrogram(0.5 * waveform, config).values
        np.testing.assert_allclose(halved, 0.5 * values, atol=1e-12)
        np.testing.assert_allclose(
            audio.compress(audio.expand(values, config), config), values, rtol=1e-12
        )

    def test_linear_is_the_limit_of_small_gamma(self) -> None:
        magnitude = np.linspace(0, 100, 7)
        linear, nearly = (
            audio.compress(magnitude, SpectrogramConfig(n_fft=128, gamma=gamma))
            for gamma in (0, 1e-9)
        )
        np.testing.assert_allclose(nearly, linear, rtol=1e-6)

    def test_shorter_than_a_window(self) -> None:
        with pytest.raises(ValueError, match="2047 samples at 16000 Hz.*window of 2048"):
            audio.spectrogram(np.ones(2047), SpectrogramConfig())


class TestConfig:
    def test_defaults(self) -> None:
        config = SpectrogramConfig()
        assert (config.sr, config.n_fft, config.hop, config.gamma) == (16000, 2048, 512, 1e4)
        assert config.n_features == 1024
        assert SpectrogramConfig(n_fft=1024).n_features == 512
        assert config.frame_rate == 31.25

    def test_frozen_and_comparable(self) -> None:
        config = SpectrogramConfig(hop=256)
        assert config == SpectrogramConfig(hop=256)
        assert config != SpectrogramConfig()
        with pytest.raises(AttributeError):
            config.hop = 128

    def test_keyword_only(self) -> None:
        with pytest.raises(TypeError):
            SpectrogramConfig(16000)

    @pytest.mark.parametrize(
        "change",
        [
            {"sr": 0},
            {"n_fft": 0},
            {"n_fft": -2},
            {"n_fft": 1023},
            {"n_fft": 1024.5},
            {"hop": 0},
            {"hop": 2.5},
            {"gamma": -1.0},
            {"window": "boxcar"},
            {"gamma": float("nan")},
            {"gamma": float("inf")},
        ],
        ids=str,
    )
    def test_bad_values_are_named(self, change: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(change))):
            SpectrogramConfig(**change)

    def test_frequencies(self) -> None:
        frequencies = SpectrogramConfig().frequencies
        assert frequencies.shape == (1024,)
        assert frequencies[0] == 7.8125
        assert frequencies[-1] == 8000

    def test_times(self) -> None:
        assert SpectrogramConfig().times(3).tolist() == [0, 0.032, 0.064]

    @pytest.mark.parametrize(
        ("seconds", "frame"), [(0, 0), (0.015, 0), (0.017, 1), (0.032, 1), (1.0, 31), (10.0, 312)]
    )
    def test_frame_nearest_to_a_time(self, seconds: float, frame: int) -> None:
        assert SpectrogramConfig().frames(seconds) == frame

    def test_frames_and_times_are_inverse(self) -> None:
        config = SpectrogramConfig(sr=22050, hop=441, n_fft=1024)
        np.testing.assert_array_equal(config.frames(config.times(1000)), np.arange(1000))


class TestLoad:
    FORMATS = (("wav", "FLOAT"), ("wav", "PCM_16"), ("flac", "PCM_24"), ("ogg", "VORBIS"))

    def write(self, path: Path, samples: np.ndarray, sr: int, subtype: str | None) -> Path:
        soundfile.write(path, samples, sr, subtype=subtype)
        return path

    def assert_sounds_like(self, waveform: np.ndarray, expected: np.ndarray, tol: float) -> None:
        """Equal but for an error of `tol` rms away from the ends."""
        assert waveform.dtype == np.float32
        inner = slice(800, min(len(waveform), len(expected)) - 800)
        error = waveform[inner] - expected[inner]
        assert np.sqrt(np.mean(error**2)) < tol * np.sqrt(np.mean(expected[inner] ** 2))

    @pytest.mark.parametrize(("suffix", "subtype"), FORMATS, ids="-".join)
    @pytest.mark.parametrize("channels", [1, 2, 8])
    def test_formats_and_channels(
        self, tmp_path: Path, suffix: str, subtype: str, channels: int
    ) -> None:
        gains = np.linspace(0.5, 1.5, channels) if channels > 1 else np.ones(1)
        samples = tone(8000)[:, None] * gains
        path = self.write(tmp_path / f"a.{suffix}", samples, 16000, subtype)
        waveform = audio.load(path, 16000)
        assert waveform.shape == (8000,)
        self.assert_sounds_like(waveform, tone(8000), 0.05 if suffix == "ogg" else 1e-3)

    @pytest.mark.parametrize("channels", [1, 2])
    def test_mp3(self, tmp_path: Path, channels: int) -> None:
        samples = np.repeat(tone(16000)[:, None], channels, axis=1)
        path = self.write(tmp_path / "a.mp3", samples, 16000, None)
        waveform = audio.load(path, 16000)
        assert 16000 <= len(waveform) < 20000
        # Encoders delay the sound, so compare the strength of its two partials.
        spectrum = np.abs(np.fft.rfft(waveform[4000:12000] * np.hanning(8000)))
        assert int(spectrum.argmax()) == 220
        assert spectrum[440] / spectrum[220] == pytest.approx(0.25, rel=0.1)

    @pytest.mark.parametrize("sr", [8000, 11025, 16000, 22050, 44100, 48000])
    def test_rates(self, tmp_path: Path, sr: int) -> None:
        path = self.write(tmp_path / "a.wav", tone(sr // 2, sr=sr), sr, "FLOAT")
        waveform = audio.load(path, 16000)
        assert abs(len(waveform) - 8000) <= 2
        self.assert_sounds_like(waveform, tone(8000), 0.01)

    def test_samples_at_the_right_rate_are_untouched(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "a.wav", tone(), 16000, "FLOAT")
        np.testing.assert_array_equal(audio.load(str(path), 16000), tone())

    def test_opposite_channels_do_not_cancel(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "a.wav", np.stack([tone(), -tone()], 1), 16000, "FLOAT")
        with pytest.warns(UserWarning, match="a.wav: its channels cancel"):
            np.testing.assert_array_equal(audio.load(path, 16000), tone())

    def test_nine_channels(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "many.wav", np.zeros((1000, 9)), 16000, "PCM_16")
        with pytest.raises(ValueError, match="many.wav.* 9 channels"):
            audio.load(path, 16000)

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="gone.wav"):
            audio.load(tmp_path / "gone.wav", 16000)

    def test_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="folder"):
            audio.load(tmp_path, 16000)

    @pytest.mark.parametrize(
        "content",
        [b"", b"RIFF", b"not samples at all\n" * 50, b"\x00" * 2000, b"\xff\xd8\xff\xe0" * 99],
        ids=["empty", "header-start", "text", "zeros", "jpeg"],
    )
    def test_not_audio(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "fake.wav"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="fake.wav is not a readable audio file"):
            audio.load(path, 16000)

    @pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
    def test_truncated_in_the_header(self, tmp_path: Path, suffix: str) -> None:
        path = self.write(tmp_path / f"cut.{suffix}", tone(), 16000, None)
        path.write_bytes(path.read_bytes()[:30])
        with pytest.raises(ValueError, match=f"cut.{suffix}"):
            audio.load(path, 16000)

    def test_truncated_flac(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).uniform(-1, 1, 16000)
        path = self.write(tmp_path / "cut.flac", noise, 16000, None)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ValueError, match="cut.flac"):
            audio.load(path, 16000)

    def test_no_samples(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "none.wav", np.zeros(0), 16000, "PCM_16")
        with pytest.raises(ValueError, match="none.wav holds no samples"):
            audio.load(path, 16000)

    def test_nan_in_a_file_names_the_file(self, tmp_path: Path) -> None:
        samples = tone()
        samples[[17, 99]] = np.nan
        path = self.write(tmp_path / "nan.wav", samples, 16000, "FLOAT")
        with pytest.raises(ValueError, match="nan.wav.*2 NaN or infinite.*sample 17"):
            audio.load(path, 16000)


class TestToMono:
    @pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint8])
    def test_integers_say_how_to_scale(self, dtype: type) -> None:
        with pytest.raises(ValueError, match=rf"{np.dtype(dtype)}.*floats in \[-1, 1\].*32768"):
            audio.to_mono(np.zeros(100, dtype), sr=16000, target_sr=16000)

    def test_complex_samples_are_not_called_integers(self) -> None:
        with pytest.raises(ValueError, match="complex128") as raised:
            audio.to_mono(np.zeros(100, complex), sr=16000, target_sr=16000)
        assert "integer" not in str(raised.value)

    @pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 100)], ids=str)
    def test_empty(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="empty"):
            audio.to_mono(np.zeros(shape), sr=16000, target_sr=16000)

    @pytest.mark.parametrize("shape", [(), (2, 2, 100)], ids=str)
    def test_wrong_number_of_dimensions(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"\(n,\) or \(channels, n\)"):
            audio.to_mono(np.zeros(shape), sr=16000, target_sr=16000)

    @pytest.mark.parametrize("shape", [(100, 2), (9, 100), (512, 40)], ids=str)
    def test_ambiguous_2d(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="ambiguous.*Spectrogram"):
            audio.to_mono(np.zeros(shape), sr=16000, target_sr=16000)

    @pytest.mark.parametrize("channels", [1, 2, 8])
    def test_mean_of_channels(self, channels: int) -> None:
        waveform = np.random.default_rng(0).normal(size=(channels, 50))
        mono = audio.to_mono(waveform, sr=16000, target_sr=16000)
        np.testing.assert_allclose(mono, waveform.mean(0))

    @pytest.mark.parametrize(
        ("dtype", "expected"),
        [(np.float16, np.float32), (np.float32, np.float32), (np.float64, np.float64)],
    )
    @pytest.mark.parametrize("sr", [16000, 22050])
    def test_dtype(self, dtype: type, expected: type, sr: int) -> None:
        assert audio.to_mono(tone(dtype=dtype), sr=sr, target_sr=16000).dtype == expected

    def test_float16_channels_do_not_overflow(self) -> None:
        loud = np.full((8, 10), 60000, np.float16)
        np.testing.assert_allclose(audio.to_mono(loud, sr=16000, target_sr=16000), 60000, rtol=1e-3)


class TestInverse:
    CONFIG = SpectrogramConfig(n_fft=512, hop=128)

    @pytest.mark.parametrize(("dtype", "least_snr"), [(np.float32, 80), (np.float64, 200)])
    def test_round_trip_with_phase(self, dtype: type, least_snr: float) -> None:
        rng = np.random.default_rng(0)
        waveform = (tone(8000, dtype=dtype) + 0.01 * rng.normal(size=8000)).astype(dtype)
        waveform -= waveform.mean()
        stft = audio.stft(waveform, self.CONFIG)
        dc = audio.stft(waveform, self.CONFIG).copy()
        dc[1:] = 0
        X = audio.spectrogram(waveform, self.CONFIG)
        again = audio.inverse(X, np.angle(stft[1:]), length=8000)
        import librosa

        without_dc = waveform - librosa.istft(dc, hop_length=128, n_fft=512, length=8000)
        assert again.shape == (8000,)
        assert snr(without_dc, again) > least_snr

    @pytest.mark.parametrize("window", ["hann", "sqrt_hann"])
    def test_istft_undoes_stft(self, window: str) -> None:
        config = SpectrogramConfig(n_fft=512, hop=128, window=window)
        waveform = np.random.default_rng(0).normal(size=8001)
        again = audio.istft(audio.stft(waveform, config), config, 8001)
        np.testing.assert_allclose(again, waveform, atol=1e-10)

    def test_griffin_lim_finds_a_waveform_of_that_spectrogram(self) -> None:
        X = audio.spectrogram(tone(8000), self.CONFIG)
        waveform = audio.inverse(X, length=8000)
        assert waveform.shape == (8000,)
        wanted, found = (
            audio.expand(values, self.CONFIG)[:, 5:-5]
            for values in (X.values, audio.spectrogram(waveform, self.CONFIG).values)
        )
        assert np.linalg.norm(found - wanted) < 0.2 * np.linalg.norm(wanted)
        np.testing.assert_array_equal(waveform, audio.inverse(X, length=8000))

    def test_phase_of_another_shape(self) -> None:
        X = Spectrogram(np.zeros((256, 5)), self.CONFIG)
        with pytest.raises(ValueError, match=r"\(257, 5\).*\(256, 5\)"):
            audio.inverse(X, np.zeros((257, 5)))
