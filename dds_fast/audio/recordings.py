"""Sources of any kind, brought to one spectrogram, and results handed back in their kind."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dds_fast import audio
from dds_fast.audio.spectra import Spectrogram, SpectrogramConfig, check_length

Source = str | Path | np.ndarray | Tensor | Spectrogram
Tuning = float | Literal["auto"] | None
MAX_TUNING = 150.0
"""Cents; baroque pitch, A = 415 Hz, is -101.3."""


@dataclass(frozen=True, eq=False)
class Given:
    """A source brought to a spectrogram, and how to hand results back.

    Attributes:
        config: of the spectrogram.
        dtype: the source's floating dtype.
        as_torch: whether it was a torch tensor.
        own_device: where the source lies.
        spectrogram: ``(F, T)`` values that were given; None for a recording.
        recording: ``(n,)`` waveform at the config's sampling rate and its own level; None for a
            spectrogram.
        gain: factor by which the recording is multiplied before its spectrogram is made.
        tuning: cents that were made up for.
    """

    config: SpectrogramConfig
    dtype: torch.dtype
    as_torch: bool
    own_device: torch.device
    spectrogram: Tensor | None = None
    recording: np.ndarray | None = None
    gain: float = 1.0
    tuning: float = 0.0

    @property
    def n_frames(self) -> int:
        """T."""
        if self.recording is None:
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
            return self.spectrogram[:, first:end]
        stft = audio.stft(self.recording, self.config, (first, end))
        X = audio.compress(np.abs(stft[1:]) * self.gain, self.config)
        return torch.from_numpy(X).to(self.own_device)

    @property
    def X(self) -> Tensor:
        """``(F, T)``: the whole spectrogram."""
        return self.frames(0, self.n_frames)

    @property
    def stft(self) -> np.ndarray | None:
        """``(F + 1, T)`` complex STFT of the recording at its own level."""
        return None if self.recording is None else audio.stft(self.recording, self.config)

    def device(self, asked: str | torch.device | None) -> torch.device:
        """Where to compute: as asked, else where a tensor lies, else a GPU if there is one.

        Raises:
            RuntimeError: a GPU was asked for and torch sees none.
        """
        if asked is not None:
            asked = torch.device(asked)
            if asked.type == "cuda" and not torch.cuda.is_available():
                raise RuntimeError("device='cuda' was asked for, but torch sees no CUDA device")
            return asked
        if self.as_torch:
            return self.own_device
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def give_back(self, tensor: Tensor | None) -> Any:
        """A result in the source's dtype, on its device if it was a tensor, else NumPy."""
        if tensor is None:
            return None
        if self.as_torch:
            return tensor.to(self.own_device, self.dtype)
        return tensor.to("cpu", self.dtype).numpy()


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
    _check_tuning(tuning)
    if isinstance(source, Spectrogram):
        if tuning is not None:
            raise ValueError("a Spectrogram cannot be retuned: pass the recording, or tuning=None")
        return _read_spectrogram(source, config)
    if isinstance(source, str | Path):
        waveform, sr = audio.read_file(source)
    elif isinstance(source, np.ndarray | Tensor):
        if sr is None:
            raise ValueError("a waveform needs its sampling rate: pass sr=")
        samples = _to_numpy(source) if isinstance(source, Tensor) else source
        waveform = audio.to_mono(samples, sr=sr, target_sr=sr)
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
        torch.float64 if waveform.dtype == np.float64 else torch.float32,
        isinstance(source, Tensor),
        source.device if isinstance(source, Tensor) else torch.device("cpu"),
        recording=waveform,
        gain=audio.normalising_gain(waveform),
        tuning=cents,
    )


def _check_tuning(tuning: Tuning) -> None:
    if tuning is None or tuning == "auto":
        return
    is_number = isinstance(tuning, Real) and not isinstance(tuning, bool)
    if not is_number or not abs(tuning) <= MAX_TUNING:
        raise ValueError(
            f"tuning must be None, 'auto' or cents within {MAX_TUNING:g} of A = 440 Hz, not "
            f"{tuning!r}"
        )


def _to_numpy(waveform: Tensor) -> np.ndarray:
    waveform = waveform.detach().cpu()
    return (waveform.float() if waveform.dtype == torch.bfloat16 else waveform).numpy()


def _read_spectrogram(source: Spectrogram, config: SpectrogramConfig) -> Given:
    if source.config != config:
        raise ValueError(
            f"the spectrogram was made with {source.config}, the dictionary needs {config}"
        )
    as_torch = isinstance(source.values, Tensor)
    X = source.values.detach() if as_torch else torch.tensor(np.array(source.values))
    if X.ndim != 2 or X.shape[0] != config.n_features or X.shape[1] == 0:
        raise ValueError(
            f"a spectrogram for this dictionary is ({config.n_features}, T) with T > 0, not "
            f"{tuple(X.shape)}"
        )
    if not X.is_floating_point():
        raise ValueError(f"the spectrogram holds {X.dtype} values, not floats")
    audio.check_finite(X.cpu().numpy(), "the spectrogram", "frame")
    if bool((X < 0).any()):
        first = int((X < 0).nonzero()[:, 1].min())
        raise ValueError(
            f"the spectrogram has {int((X < 0).sum())} negative values, the first in frame {first}"
        )
    return Given(config, X.dtype, as_torch, X.device, spectrogram=X)
