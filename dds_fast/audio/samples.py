"""A recording as it was given: every channel, at its own rate, read piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dds_fast.audio.waveforms import BLOCK, checked_sr, open_file, resample, to_mono

WIDE = ("PCM_32", "DOUBLE")
"""Kinds of samples that float32 does not hold."""


@dataclass(frozen=True, eq=False)
class Samples:
    """All samples of a recording; those of a file are read when they are needed.

    Attributes:
        source: ``(channels, n)`` floats, or the path of a file.
        sr: sampling rate in Hz.
        n_channels: how many channels it has.
        n_samples: n, of each channel.
        is_flat: whether waveforms of it are ``(n,)``: it was given so, or its file has one channel.
        format: of its file, as libsndfile names it; None for an array.
        subtype: kind of its file's samples, likewise ("PCM_24").

    Example:
        >>> samples = Samples.of_array(np.zeros((2, 44100)), 44100)
        >>> samples.n_channels, samples.n_samples, [x.shape for x in samples.spans([(0, 9)])]
        (2, 44100, [(2, 9)])
    """

    source: np.ndarray | Path
    sr: float
    n_channels: int
    n_samples: int
    is_flat: bool
    format: str | None = None
    subtype: str | None = None

    @classmethod
    def of_array(cls, waveform: np.ndarray, sr: float) -> Samples:
        """Those of a float waveform ``(n,)`` or ``(channels, n)``, which is not copied."""
        channels = np.atleast_2d(waveform)
        if channels.dtype == np.float16:
            channels = channels.astype(np.float32)
        n_channels, n_samples = channels.shape
        return cls(channels, sr, n_channels, n_samples, is_flat=waveform.ndim == 1)

    @classmethod
    def of_file(cls, path: str | Path, n_samples: int) -> Samples:
        """Those of an audio file, of which so many samples can be read."""
        with open_file(path) as file:
            return cls(
                Path(path),
                file.samplerate,
                file.channels,
                n_samples,
                is_flat=file.channels == 1,
                format=file.format,
                subtype=file.subtype,
            )

    @property
    def dtype(self) -> np.dtype:
        """Of the waveforms: that of the array, or one that holds the samples of the file."""
        if isinstance(self.source, np.ndarray):
            return self.source.dtype
        return np.dtype(np.float64 if self.subtype in WIDE else np.float32)

    def spans(self, spans: Iterable[tuple[int, int]]) -> Iterator[np.ndarray]:
        """``(channels, end - first)`` samples of spans within the recording, one after the other.

        Args:
            spans: first sample and end of each; neither may fall.

        Raises:
            FileNotFoundError: the file is gone.
            ValueError: the file has changed.
        """
        if isinstance(self.source, np.ndarray):
            for first, end in spans:
                yield self.source[:, first:end]
            return
        with open_file(self.source) as file:
            # Read from beginning to end, as not every compressed file can be read from a place.
            if (file.samplerate, file.channels) != (self.sr, self.n_channels):
                raise ValueError(f"{self.source} has changed since it was analysed")
            start, held = 0, np.empty((0, self.n_channels), self.dtype)
            for first, end in spans:
                held, start = held[first - start :], first
                pieces = [held]
                while (missing := end - start - sum(map(len, pieces))) > 0:
                    # soundfile's own reading of a length runs over the end of what can be decoded.
                    piece = file.read(min(missing, BLOCK), dtype=self.dtype.name, always_2d=True)
                    if not len(piece):
                        raise ValueError(f"{self.source} has changed since it was analysed")
                    pieces.append(piece)
                held = np.concatenate(pieces)
                yield held[: end - first].T

    @property
    def waveform(self) -> np.ndarray:
        """All of it, ``(channels, n)``, or ``(n,)`` if it is flat."""
        (channels,) = self.spans([(0, self.n_samples)])
        return channels[0] if self.is_flat else channels

    def converted(self, *, sr: float | None = None, mono: bool = False) -> Samples:
        """The same at another sampling rate, or with the channels averaged; held in memory.

        Raises:
            ValueError: a sampling rate outside 1 kHz to 1 MHz.

        Example:
            >>> stereo = Samples.of_array(np.zeros((2, 44100)), 44100)
            >>> stereo.converted(sr=16000, mono=True).waveform.shape
            (16000,)
        """
        if not mono and (sr is None or sr == self.sr):
            return self
        target_sr = self.sr if sr is None else checked_sr("target_sr", sr)
        if mono:
            waveform = to_mono(self.waveform, sr=self.sr, target_sr=target_sr)
        else:
            channels = np.atleast_2d(self.waveform)
            waveform = np.stack(
                [resample(channel, sr=self.sr, target_sr=target_sr) for channel in channels]
            )
            waveform = waveform[0] if self.is_flat else waveform
        converted = Samples.of_array(waveform, target_sr)
        return Samples(
            converted.source,
            target_sr,
            converted.n_channels,
            converted.n_samples,
            converted.is_flat,
            self.format,
            self.subtype,
        )
