"""Test snippets: many short recordings as one long one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dds_fast import audio
from dds_fast.notes.score import Labels


def concatenate(
    recordings: Iterable[tuple[Path, Labels]],
    config: audio.SpectrogramConfig,
    *,
    normalise: bool = False,
) -> tuple[audio.Spectrogram, Labels]:
    """Recordings cut from their first onset to their last offset, one after the other.

    Args:
        recordings: paths and labels.
        config: of the spectrogram.
        normalise: bring each recording to the level at which it would be decomposed by itself.

    Raises:
        ValueError: no recordings, or one without notes.

    Example:
        >>> import tempfile
        >>> import soundfile
        >>> labels = Labels(np.array([[0.512, 1.024]]), np.array([69]), np.array([64.0]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "a.wav"
        ...     soundfile.write(path, np.sin(np.arange(24000) / 6), 16000)
        ...     X, joined = concatenate([(path, labels), (path, labels)], audio.SpectrogramConfig())
        >>> X.values.shape, joined.intervals[:, 0].round(2)
        ((1024, 32), array([0.  , 0.51]))
    """
    pieces, intervals, pitches, velocities = [], [], [], []
    n_frames = 0
    for path, labels in recordings:
        if len(labels.intervals) == 0:
            raise ValueError(f"{path}: no notes are labelled")
        waveform = audio.load(path, config.sr)
        if normalise:
            waveform = waveform * audio.normalising_gain(waveform)
        X = audio.spectrogram(waveform, config).values
        first = int(config.frames(labels.intervals[:, 0].min()))
        end = int(config.frames(labels.intervals[:, 1].max()))
        pieces.append(X[:, first:end])
        intervals.append(labels.intervals + (n_frames - first) / config.frame_rate)
        pitches.append(labels.pitches)
        velocities.append(labels.velocities)
        n_frames += pieces[-1].shape[1]
    if not pieces:
        raise ValueError("no recordings were given")
    labels = Labels(*(np.concatenate(part) for part in (intervals, pitches, velocities)))
    return audio.Spectrogram(np.concatenate(pieces, axis=1), config), labels
