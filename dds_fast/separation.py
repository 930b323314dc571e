"""Stems: masks on linear magnitudes, from each source's part of a decomposition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from dds_fast import audio


def source_parts(
    components: np.ndarray, activations: np.ndarray, labels: np.ndarray, n_sources: int
) -> Iterator[np.ndarray]:
    """Each source's ``(F, T)`` part of the reconstruction, one after the other.

    Args:
        components: ``(F, J)`` or ``(S, F, T)``.
        activations: ``(J, T)`` or ``(S, T)``.
        labels: ``(J,)`` source index of each row of the activations.
        n_sources: S.
    """
    for source in range(n_sources):
        rows = labels == source
        if components.ndim == 3:
            yield (components[rows] * activations[rows, None, :]).sum(0)
        else:
            yield components[:, rows] @ activations[rows]


def separate(
    components: np.ndarray,
    activations: np.ndarray,
    labels: np.ndarray,
    n_sources: int,
    stft: np.ndarray,
    config: audio.SpectrogramConfig,
    n_samples: int | None,
) -> np.ndarray:
    """One waveform per source, ``(S, n)``; they sum to the recording.

    Each source's part of the reconstruction, expanded to linear magnitudes, is masked out of the
    recording by `mask_stems`.

    Args:
        components, activations, labels, n_sources: as for `source_parts`.
        stft: ``(F + 1, T)`` complex STFT of the recording.
        config: its spectrogram config.
        n_samples: length of the recording.
    """

    def magnitudes() -> Iterator[np.ndarray]:
        for part in source_parts(components, activations, labels, n_sources):
            yield audio.expand(part, config)

    return mask_stems(magnitudes, stft, config, n_samples)


def mask_stems(
    magnitudes: Callable[[], Iterable[np.ndarray]],
    stft: np.ndarray,
    config: audio.SpectrogramConfig,
    n_samples: int | None,
) -> np.ndarray:
    """One waveform per model magnitude, ``(n_stems, n)``; they sum to the recording.

    A stem's mask is its share of the linear magnitude; bins that no stem explains are shared
    equally, and DC goes with its neighbour bin. The phase is the recording's.

    Args:
        magnitudes: gives the stems' ``(F, T)`` linear magnitudes, one after the other. It is
            called twice, so that only one of them need be in memory.
        stft: ``(F + 1, T)`` complex STFT of the recording.
        config: its spectrogram config.
        n_samples: length of the recording.

    Raises:
        ValueError: the hop exceeds half a window.
    """
    audio.check_invertible(config)
    total = np.zeros(stft[1:].shape, stft.real.dtype)
    n_stems = 0
    for magnitude in magnitudes():
        total = total + magnitude
        n_stems += 1
    unexplained = total <= np.finfo(total.dtype).tiny
    stems = []
    for magnitude in magnitudes():
        mask = np.where(unexplained, 1 / n_stems, magnitude / np.where(unexplained, 1, total))
        mask = np.concatenate([mask[:1], mask])
        stems.append(audio.istft(stft * mask, config, n_samples))
    return np.stack(stems)
