"""The log-compressed spectrogram that all methods share, and its inverse.

Magnitudes without the DC bin, normalised so that a full-scale sinusoid is 1, log-compressed to
about [0, 1] (DDS paper, section IV-A).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from dds_fast import scalars

WINDOWS = {"hann": 1.0, "sqrt_hann": 0.5}
"""Powers of the Hann window, by name."""

BOUNDS = {"sr": (1, 10**7), "n_fft": (4, 1 << 20), "hop": (1, 1 << 20)}
GAMMAS = (1e-12, 1e12)
"""Weaker compression is none; stronger, and its inverse, leave the range of float32."""


@dataclass(frozen=True, kw_only=True)
class SpectrogramConfig:
    """What turns a waveform into a spectrogram. A dictionary decides it for its recordings.

    Attributes:
        sr: sampling rate in Hz.
        n_fft: window length in samples; the spectrogram has ``F = n_fft // 2`` bins.
        hop: samples between frames.
        gamma: strength of the log compression ``log(1 + gamma A) / log(1 + gamma)``; 0, its
            limit, leaves the magnitudes A linear.
        window: "hann", or "sqrt_hann" (whose square overlaps to a constant: for separation).

    Raises:
        ValueError: a parameter that is no number within `BOUNDS` or `GAMMAS` (`gamma` may be 0), an
            odd `n_fft` or an unknown `window`.

    Example:
        >>> config = SpectrogramConfig(n_fft=1024)
        >>> config.n_features, config.frame_rate
        (512, 31.25)
    """

    sr: int = 16000
    n_fft: int = 2048
    hop: int = 512
    gamma: float = 1e4
    window: str = "hann"

    def __post_init__(self) -> None:
        checked: dict[str, float] = {
            name: scalars.integer(f"SpectrogramConfig: {name}", getattr(self, name), *bounds)
            for name, bounds in BOUNDS.items()
        }
        checked["gamma"] = scalars.not_negative("SpectrogramConfig: gamma", self.gamma)
        self.__dict__.update(checked)  # frozen, but plain numbers from here on
        if self.gamma != 0 and not GAMMAS[0] <= self.gamma <= GAMMAS[1]:
            raise ValueError(
                f"SpectrogramConfig: gamma must be 0 or within {GAMMAS}, not {self.gamma}"
            )
        if self.window not in WINDOWS:
            raise ValueError(
                f"SpectrogramConfig: window must be one of {tuple(WINDOWS)}, not {self.window!r}"
            )
        if self.n_fft % 2:
            raise ValueError(f"SpectrogramConfig: n_fft must be even, not {self.n_fft}")

    @classmethod
    def stored(cls, values: Mapping[str, Any]) -> SpectrogramConfig:
        """That of a file's header; what it does not tell is no default.

        Raises:
            ValueError: a number is missing, or no legal one.
        """
        # The window alone came later than the first files.
        known = [item.name for item in fields(cls) if item.name != "window" or "window" in values]
        missing = [name for name in known if name not in values]
        if missing:
            raise ValueError(f"{', '.join(missing)} not told")
        return cls(**{name: values[name] for name in known})

    @classmethod
    def for_features(cls, n_features: int) -> SpectrogramConfig:
        """The default config with F bins: a window of 2 F, a hop of 512 or half a window."""
        return cls(n_fft=2 * n_features, hop=min(cls.hop, n_features))

    @property
    def n_features(self) -> int:
        """F, the number of frequency bins."""
        return self.n_fft // 2

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sr / self.hop

    @property
    def frequencies(self) -> np.ndarray:
        """``(F,)`` centre frequencies in Hz; the first bin is the one above DC."""
        return np.arange(1, self.n_features + 1) * (self.sr / self.n_fft)

    def times(self, n_frames: int) -> np.ndarray:
        """``(T,)`` frame centres in seconds."""
        return np.arange(n_frames) * (self.hop / self.sr)

    def frames(self, seconds: np.ndarray | float) -> np.ndarray:
        """Index of the frame nearest to each time."""
        return np.rint(np.asarray(seconds) * self.frame_rate).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Spectrogram:
    """A log-compressed spectrogram and the config that it was made with.

    Attributes:
        values: ``(F, T)`` NumPy array or torch tensor, non-negative.
        config: a `SpectrogramConfig` with ``n_features == F``.

    Example:
        >>> config = SpectrogramConfig(n_fft=1024)
        >>> X = Spectrogram(np.zeros((512, 40), np.float32), config)
        >>> X.config.frequencies[:2], X.config.times(40)[-1]
        (array([15.625, 31.25 ]), np.float64(1.248))
    """

    values: Any
    config: SpectrogramConfig


def check_length(waveform: np.ndarray, config: SpectrogramConfig) -> None:
    """Raise a ValueError if a waveform is shorter than one window."""
    if len(waveform) < config.n_fft:
        raise ValueError(
            f"the recording has {len(waveform)} samples at {config.sr} Hz, shorter than one "
            f"window of {config.n_fft}"
        )


def n_frames(n_samples: int, config: SpectrogramConfig) -> int:
    """T, how many frames a recording of so many samples has.

    Example:
        >>> n_frames(16000, SpectrogramConfig(hop=500))
        33
    """
    return 1 + n_samples // config.hop


def stft(
    waveform: np.ndarray, config: SpectrogramConfig, frames: tuple[int, int] | None = None
) -> np.ndarray:
    """Complex ``(F + 1, T)`` STFT, periodic window, centred frames, reflected edges; with DC.

    Args:
        waveform: ``(n,)`` floats at ``config.sr``.
        config: window and hop.
        frames: first and end of those wanted; all by default.

    Raises:
        ValueError: the waveform is shorter than one window.

    Example:
        >>> config = SpectrogramConfig(n_fft=1024)
        >>> tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / config.sr)
        >>> spectra = stft(tone, config)
        >>> spectra.shape, int(np.abs(spectra[:, 16]).argmax())  # 64 * 16000 Hz / 1024 = 1000 Hz
        ((513, 32), 64)
    """
    import torch

    check_length(waveform, config)
    first, end = frames or (0, n_frames(len(waveform), config))
    start = first * config.hop - config.n_fft // 2
    stop = (end - 1) * config.hop + config.n_fft // 2
    inside = waveform[max(0, start) : stop]
    beyond = max(0, -start), max(0, stop - len(waveform))
    if any(beyond):
        inside = np.pad(inside, beyond, mode="reflect")
    samples = torch.from_numpy(np.ascontiguousarray(inside))
    return torch.stft(
        samples,
        n_fft=config.n_fft,
        hop_length=config.hop,
        window=torch.from_numpy(_window(config)).to(samples),
        center=False,
        return_complex=True,
    ).numpy()


def istft(stft: np.ndarray, config: SpectrogramConfig, length: int | None = None) -> np.ndarray:
    """The ``(n,)`` waveform of a complex ``(F + 1, T)`` STFT: the inverse of `stft`.

    Raises:
        ValueError: the hop exceeds half a window.

    Example:
        >>> config = SpectrogramConfig(n_fft=1024)
        >>> tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / config.sr)
        >>> np.allclose(istft(stft(tone, config), config, length=16000), tone)
        True
    """
    import librosa

    check_invertible(config)
    return librosa.istft(
        stft,
        n_fft=config.n_fft,
        hop_length=config.hop,
        window=_window(config),
        length=length,
    )


def window_of(n_fft: int, name: str) -> np.ndarray:
    """The periodic window: that of an STFT, whose last sample is the next one's first.

    Example:
        >>> window_of(4, "hann")
        array([0. , 0.5, 1. , 0.5])
    """
    return np.hanning(n_fft + 1)[:-1] ** WINDOWS[name]


def _window(config: SpectrogramConfig) -> np.ndarray:
    return window_of(config.n_fft, config.window)


def check_invertible(config: SpectrogramConfig) -> None:
    """Raise a ValueError if the frames do not overlap enough to make a waveform of."""
    if config.hop > config.n_fft // 2:
        raise ValueError(
            f"a hop of {config.hop} is more than half the window of {config.n_fft}: no waveform "
            "can be made of such a spectrogram"
        )


def _amplitude_scale(config: SpectrogramConfig) -> float:
    window = np.hanning(config.n_fft) ** WINDOWS[config.window]
    return 2.0 / float(window.sum())


def compress(magnitude: np.ndarray, config: SpectrogramConfig) -> np.ndarray:
    """Log-compressed values of STFT magnitudes ``(F, T)`` (DDS paper, section IV-A).

    Example:
        >>> config = SpectrogramConfig(n_fft=1024)
        >>> full_scale = np.hanning(1024).sum() / 2  # magnitude of a sinusoid of amplitude 1
        >>> compress(full_scale * np.array([0, 0.01, 1]), config).round(2)
        array([0. , 0.5, 1. ])
    """
    if config.gamma == 0:
        return _amplitude_scale(config) * magnitude
    scale = config.gamma * _amplitude_scale(config)
    return np.log1p(scale * magnitude) / math.log1p(config.gamma)


def expand(values: np.ndarray, config: SpectrogramConfig) -> np.ndarray:
    """STFT magnitudes of log-compressed values: the inverse of `compress`.

    Example:
        >>> config = SpectrogramConfig(n_fft=1024)
        >>> magnitudes = expand(np.array([0, 0.5, 1]), config)
        >>> magnitudes.round(1), compress(magnitudes, config)
        (array([  0. ,   2.5, 255.8]), array([0. , 0.5, 1. ]))
    """
    if config.gamma == 0:
        return values / _amplitude_scale(config)
    scale = config.gamma * _amplitude_scale(config)
    return np.expm1(values * math.log1p(config.gamma)) / scale


def spectrogram(waveform: np.ndarray, config: SpectrogramConfig) -> Spectrogram:
    """The log-compressed spectrogram of a mono waveform at ``config.sr``.

    Args:
        waveform: ``(n,)`` floats.
        config: window, hop and compression.

    Returns:
        `Spectrogram` with ``(F, T)`` values of the waveform's dtype, DC dropped.

    Raises:
        ValueError: the waveform is shorter than one window.

    Example:
        >>> import numpy as np
        >>> config = SpectrogramConfig(n_fft=1024)
        >>> tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
        >>> X = spectrogram(tone, config)
        >>> X.values.shape, float(X.values.max().round(2))
        ((512, 32), 1.0)
    """
    return Spectrogram(compress(np.abs(stft(waveform, config))[1:], config), config)


def inverse(
    spectrogram: Spectrogram, phase: np.ndarray | None = None, length: int | None = None
) -> np.ndarray:
    """A waveform whose spectrogram is, or comes close to, the given one.

    Args:
        spectrogram: ``(F, T)`` log-compressed values and their config.
        phase: ``(F, T)`` in radians; without it, Griffin-Lim estimates one.
        length: number of samples wanted.

    Returns:
        ``(n,)`` waveform at ``config.sr``.

    Raises:
        ValueError: the phase has another shape, or the hop exceeds half a window.

    Example:
        >>> config = SpectrogramConfig(n_fft=1024)
        >>> tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / config.sr)
        >>> phase = np.angle(stft(tone, config)[1:])
        >>> again = inverse(spectrogram(tone, config), phase, length=16000)
        >>> bool(np.abs(again - tone)[512:-512].max() < 1e-3)
        True
    """
    import librosa

    config = spectrogram.config
    check_invertible(config)
    magnitude = expand(np.asarray(spectrogram.values), config)
    magnitude = np.concatenate([np.zeros_like(magnitude[:1]), magnitude])
    if phase is None:
        return librosa.griffinlim(
            magnitude,
            hop_length=config.hop,
            n_fft=config.n_fft,
            window=_window(config),
            pad_mode="reflect",
            length=length,
            random_state=0,
        )
    if phase.shape != spectrogram.values.shape:
        raise ValueError(
            f"phase has shape {phase.shape}, the spectrogram {spectrogram.values.shape}"
        )
    phase = np.concatenate([np.zeros_like(phase[:1]), phase])
    return istft(magnitude * np.exp(1j * phase), config, length)
