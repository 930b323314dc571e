"""Stems: masks from a spectrogram, put on every channel of a recording at its own rate.

The frames of an STFT at the recording's rate lie where those of the analysis lie, and its bins are
as wide, so that masks need hardly be interpolated. Above the band that was analysed, stems share as
they do in its highest octave.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from dds_fast.audio.masks import FLOOR, Magnitudes, masks
from dds_fast.audio.samples import Samples
from dds_fast.audio.spectra import SpectrogramConfig, check_invertible, window_of
from dds_fast.audio.waveforms import frequency_ratio

ROOM = 1 << 22
"""Values of masks that are in memory at a time."""

FEWEST_FRAMES = 16
"""At least so many frames are made at a time: their neighbours are needed too."""

PASSED = 0.9
"""This part of the band, resampling leaves as it is."""


class Grid:
    """Where the frames and bins of a spectrogram lie in a recording of another sampling rate.

    Attributes:
        n_fft: window in samples of the recording.
        centres: ``(T + 1,)`` samples at which frames are centred; the last one is one more than was
            analysed, so that the recording's end is well covered.
        bins: ``(n_fft // 2 + 1,)`` places of the bins among those of the spectrogram, DC at 0.
        window: ``(n_fft,)``.

    Example:
        >>> config = SpectrogramConfig(sr=16000, n_fft=2048, hop=512)
        >>> grid = Grid(config, n_frames=3, sr=48000)
        >>> grid.n_fft, grid.centres, grid.bins[[0, 1, 3072]]
        (6144, array([   0, 1536, 3072, 4608]), array([0.000e+00, 1.000e+00, 3.072e+03]))
    """

    def __init__(
        self, config: SpectrogramConfig, n_frames: int, sr: float, tuning: float = 0.0
    ) -> None:
        check_invertible(config)
        scale = sr / (config.sr * frequency_ratio(tuning))
        self.n_features = config.n_features
        self.n_fft = max(4, 2 * round(config.n_fft * scale / 2))
        self.centres = np.rint(np.arange(n_frames + 1) * (config.hop * scale)).astype(np.int64)
        self.bins = np.arange(self.n_fft // 2 + 1) * (config.n_fft * scale / self.n_fft)
        self.window = window_of(self.n_fft, config.window)

    def masks(self, magnitudes: Iterable[np.ndarray]) -> np.ndarray:
        """``(n_stems, n_fft // 2 + 1, t)`` masks at the recording's bins.

        DC goes with its neighbour. Above the band that was analysed, a stem's share is that of the
        power in the band's highest octave, frame by frame: docs/separation.md tells what else was
        measured.

        Args:
            magnitudes: ``(F, t)`` of each stem.
        """
        n_inside = int(np.searchsorted(self.bins, self.n_features, side="right"))
        places = np.maximum(self.bins[:n_inside] - 1, 0)  # row 0 is bin 1
        rows = np.minimum(places.astype(int), self.n_features - 1)
        upper = np.minimum(rows + 1, self.n_features - 1)
        weights = (places - rows)[:, None]
        octave = slice(self.n_features // 2, max(2, int(PASSED * self.n_features)))
        laid, levels, tops = [], [], []
        for stem in magnitudes:
            inside = stem[rows]
            if weights.any():
                inside += weights.astype(stem.dtype) * (stem[upper] - inside)
            laid.append(inside)
            levels.append(stem.mean(axis=0))
            tops.append(np.square(stem[octave]).mean(axis=0) + np.square(FLOOR * levels[-1]))
        inside = masks(np.stack(laid), np.stack(levels))
        n_above = len(self.bins) - n_inside
        if not n_above:
            return inside
        above = masks(np.stack(tops)[:, None])
        return np.concatenate([inside, np.repeat(above, n_above, axis=1)], axis=1)


class Stems:
    """Stems of a recording that are made block by block.

    Args:
        magnitudes: of the stems, in the frames of the analysis.
        n_stems: how many there are.
        samples: the recording.
        config: of the spectrogram that was analysed.
        n_frames: T of it.
        tuning: cents by which the recording was retuned for it.

    Raises:
        ValueError: the hop exceeds half a window.

    Example:
        >>> config = SpectrogramConfig(sr=8000, n_fft=256, hop=64)
        >>> stereo = np.random.default_rng(0).normal(size=(2, 22050))
        >>> halves = lambda first, end: [np.ones((128, end - first))] * 2
        >>> stems = Stems(halves, 2, Samples.of_array(stereo, 22050), config, n_frames=126)
        >>> stems.waveforms.shape, np.allclose(stems.waveforms, stereo / 2)
        ((2, 2, 22050), True)
    """

    def __init__(
        self,
        magnitudes: Magnitudes,
        n_stems: int,
        samples: Samples,
        config: SpectrogramConfig,
        n_frames: int,
        tuning: float = 0.0,
    ) -> None:
        self.magnitudes, self.n_stems = magnitudes, n_stems
        self.samples, self.n_frames = samples, n_frames
        self.grid = Grid(config, n_frames, samples.sr, tuning)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(n_stems, n)`` or ``(n_stems, channels, n)``, of `waveforms`."""
        channels = () if self.samples.is_flat else (self.samples.n_channels,)
        return self.n_stems, *channels, self.samples.n_samples

    @property
    def waveforms(self) -> np.ndarray:
        """All stems, in memory; see `shape`."""
        whole = np.empty(
            (self.n_stems, self.samples.n_channels, self.samples.n_samples), self.samples.dtype
        )
        first = 0
        for block, _ in self.blocks():
            whole[..., first : first + block.shape[-1]] = block
            first += block.shape[-1]
        return whole.reshape(self.shape)

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The stems ``(n_stems, channels, n)``, and the recording ``(channels, n)``, by blocks."""
        grid, n_samples = self.grid, self.samples.n_samples
        half = grid.n_fft // 2
        n_bins = len(grid.bins)
        length = max(FEWEST_FRAMES, ROOM // (self.n_stems * n_bins))
        edges = [0, *grid.centres[length::length].tolist(), n_samples]
        edges = [edge for edge in edges[:-1] if edge < n_samples] + [n_samples]
        plans = []
        for start, stop in zip(edges[:-1], edges[1:], strict=True):
            first = int(np.searchsorted(grid.centres, start - half, side="right"))
            end = int(np.searchsorted(grid.centres, stop + half, side="left"))
            reach = int(grid.centres[first]) - half, int(grid.centres[end - 1]) + half
            plans.append((start, stop, first, end, *reach))
        spans = ((max(0, low), min(n_samples, high)) for *_, low, high in plans)
        for plan, read in zip(plans, self.samples.spans(spans), strict=True):
            start, stop, first, end, low, high = plan
            around = (max(0, -low), max(0, high - n_samples))
            known = np.pad(read, ((0, 0), around), mode="reflect") if any(around) else read
            made = self._made(known, grid.centres[first:end] - half - low, first, end)
            inside = slice(start - low, stop - low)
            yield made[..., inside], known[:, inside]

    def _made(self, known: np.ndarray, starts: np.ndarray, first: int, end: int) -> np.ndarray:
        """``(n_stems, channels, n)`` overlapping frames that begin at `starts` of `known`."""
        grid = self.grid
        # The frame beyond the last one is like it.
        frames = np.minimum(np.arange(first, end), self.n_frames - 1)
        low, high = int(frames[0]), int(frames[-1]) + 1
        shares = grid.masks(self.magnitudes(low, high))[..., frames - low].transpose(0, 2, 1)
        window = torch.from_numpy(grid.window.astype(known.dtype))
        pieces = np.stack([known[:, s : s + grid.n_fft] for s in starts.tolist()], axis=1)
        spectra = torch.fft.rfft(torch.from_numpy(pieces) * window)
        made = np.zeros((len(shares), *known.shape), known.dtype)
        weight = np.zeros(known.shape[1], known.dtype)
        for s in starts.tolist():
            weight[s : s + grid.n_fft] += grid.window**2
        weight = np.where(weight > np.finfo(weight.dtype).tiny, weight, 1)
        for stem, share in zip(made, shares, strict=True):
            masked = spectra * torch.from_numpy(np.ascontiguousarray(share, dtype=known.dtype))
            sounds = (torch.fft.irfft(masked, n=grid.n_fft) * window).numpy()
            for index, s in enumerate(starts.tolist()):
                stem[:, s : s + grid.n_fft] += sounds[:, index]
            stem /= weight
        return made
