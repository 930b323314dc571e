"""Sources of any kind, brought to one spectrogram, and results handed back in their kind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dds_fast import arrays, audio, scalars
from dds_fast.arrays import Kind
from dds_fast.audio.samples import Samples
from dds_fast.audio.spectra import Spectrogram, SpectrogramConfig, check_length

Source = str | Path | np.ndarray | Tensor | Spectrogram
Tuning = float | Literal["auto"] | None
FILE = Kind(torch.float32, None)
"""What a recording in a file is."""

MAX_TUNING = 150.0
"""Cents; baroque pitch, A = 415 Hz, is -101.3."""


@dataclass(frozen=True, eq=False)
class Given:
    """A source brought to a spectrogram, and how to hand results back.

    Attributes:
        config: of the spectrogram.
        kind: what the source was, in which results go back.
        spectrogram: ``(F, T)`` values that were given; None for a recording.
        recording: ``(n,)`` waveform at the config's sampling rate and its own level; None for a
            spectrogram.
        samples: the recording as it was given; None for a spectrogram.
        gain: factor by which the recording is multiplied before its spectrogram is made.
        tuning: cents that were made up for.
    """

    config: SpectrogramConfig
    kind: Kind
    spectrogram: Tensor | None = None
    recording: np.ndarray | None = None
    samples: Samples | None = None
    gain: float = 1.0
    tuning: float = 0.0

    @property
    def n_frames(self) -> int:
        """T."""
        if self.recording is None:
            assert self.spectrogram is not None
            return self.spectrogram.shape[1]
        return audio.n_frames(len(self.recording), self.config)

    @property
    def n_samples(self) -> int | None:
        """Samples of the recording; None for a spectrogram."""
        return None if self.recording is None else len(self.recording)

    @property
    def seconds(self) -> float:
        """How long it sounds."""
        return self.n_frames / self.config.frame_rate

    def frames(self, first: int, end: int) -> Tensor:
        """``(F, t)``: some frames of the spectrogram, on the source's device."""
        if self.recording is None:
            assert self.spectrogram is not None
            return self.spectrogram[:, first:end]
        stft = audio.stft(self.recording, self.config, (first, end))
        X = audio.compress(np.abs(stft[1:]) * self.gain, self.config)
        return torch.from_numpy(X).to(self.kind.device or "cpu")

    def between(self, first: int, end: int, per_frame: int) -> np.ndarray | None:
        """``(F, n)``: spectra `per_frame` times as dense, from `first` to `end` of their own count.

        Beyond the recording the outermost ones go on. None for a spectrogram, or where the hop
        cannot be divided so.
        """
        if self.recording is None or self.config.hop % per_frame:
            return None
        dense = replace(self.config, hop=self.config.hop // per_frame)
        inside = max(0, first), min(end, audio.n_frames(len(self.recording), dense))
        stft = audio.stft(self.recording, dense, inside)
        X = audio.compress(np.abs(stft[1:]) * self.gain, dense)
        return np.pad(X, ((0, 0), (inside[0] - first, end - inside[1])), mode="edge")

    @property
    def X(self) -> Tensor:
        """``(F, T)``: the whole spectrogram."""
        return self.frames(0, self.n_frames)

    @property
    def stft(self) -> np.ndarray | None:
        """``(F + 1, T)`` complex STFT of the recording at its own level."""
        return None if self.recording is None else audio.stft(self.recording, self.config)


def read(
    source: Source, sr: float | None, config: SpectrogramConfig, tuning: Tuning = None
) -> Given:
    """Bring any kind of source to an ``(F, T)`` tensor.

    Recordings are brought to one level (`normalising_gain`) and to A = 440 Hz; a `Spectrogram`
    is taken as it is.

    Args:
        source: path, waveform or `Spectrogram`.
        sr: sampling rate of a waveform, in Hz.
        config: of the spectrogram wanted.
        tuning: as for `dds_fast.decompose`.

    Raises:
        FileNotFoundError: no such recording.
        ValueError: no sampling rate for a waveform, another config than the spectrogram's, a
            tuning that is none or that of a spectrogram, or bad values.
    """
    check_tuning(tuning)
    if isinstance(source, Spectrogram):
        if tuning is not None:
            raise ValueError("a Spectrogram cannot be retuned: pass the recording, or tuning=None")
        return _read_spectrogram(source, config)
    if isinstance(source, str | Path):
        kind, (waveform, sr) = FILE, audio.read_file(source)
        samples = Samples.of_file(source, len(waveform))
    elif isinstance(source, np.ndarray | Tensor):
        if sr is None:
            raise ValueError("a waveform needs its sampling rate: pass sr=")
        kind, sr = Kind.of(source), scalars.real("the sampling rate sr", sr)
        channels = arrays.as_numpy(source)
        waveform = audio.to_mono(channels, sr=sr, target_sr=sr)
        samples = Samples.of_array(channels, sr)
    else:
        raise ValueError(
            f"a source is a path, a waveform, a Spectrogram or a list of these, not {type(source)}"
        )
    cents = audio.estimate_tuning(waveform, sr) if tuning == "auto" else float(tuning or 0)
    # Played at this rate, its A is 440 Hz.
    retuned_sr = sr / audio.frequency_ratio(cents)
    waveform = audio.resample(waveform, sr=retuned_sr, target_sr=config.sr)
    check_length(waveform, config)
    return Given(
        config,
        kind,
        recording=waveform,
        samples=samples,
        gain=audio.normalising_gain(waveform),
        tuning=cents,
    )


def rate_of(source: Source, sr: float | None) -> float | None:
    """The sampling rate of a file, or that given with a waveform, in Hz; None if there is none."""
    if isinstance(source, str | Path):
        with audio.open_file(source) as file:
            return file.samplerate
    return None if isinstance(source, Spectrogram) else sr


def check_tuning(tuning: Tuning) -> None:
    legal = f"tuning must be None, 'auto' or cents within {MAX_TUNING:g} of A = 440 Hz, not"
    try:
        if tuning not in (None, "auto") and abs(scalars.real("tuning", tuning)) > MAX_TUNING:
            raise ValueError(tuning)
    except ValueError:
        raise ValueError(f"{legal} {tuning!r}") from None


def _read_spectrogram(source: Spectrogram, config: SpectrogramConfig) -> Given:
    if source.config != config:
        raise ValueError(
            f"the spectrogram was made with {source.config}, the dictionary needs {config}"
        )
    X = arrays.as_tensor("the spectrogram", source.values)
    if X.ndim != 2 or X.shape[0] != config.n_features or X.shape[1] == 0:
        raise ValueError(
            f"a spectrogram for this dictionary is ({config.n_features}, T) with T > 0, not "
            f"{tuple(X.shape)}"
        )
    if not X.is_floating_point():
        raise ValueError(f"the spectrogram holds {X.dtype} values, not floats")
    arrays.check_entries("the spectrogram", X, axis="frame")
    return Given(config, Kind.of(source.values), spectrogram=X)
