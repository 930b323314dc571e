"""Does a recording sound like the note that its file name says?"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

SECONDS = 1.0
"""From the attack on; what a note sounds like is settled by then."""

FEWEST_PERIODS = 20
"""Of the lower of two notes, to tell semitones apart by a dozen partials."""

PITCHES = np.arange(21, 109)
N_PARTIALS = 12
HIGHEST = 5000.0
"""Hz; stiff strings stretch what lies above too far from a harmonic comb."""

TOLERANCE = 0.4
"""Semitones to either side of a partial: a piano that is out of tune is no mistake of a name."""

MARGIN = 0.12
"""By which another note must fit better; of 840 notes of six pianos the largest seen is 0.08."""


TONELESS = 0.4
"""Of the best fit: where the median note fits as well as this, as noise does (0.7; pianos 0.16 at
most), the recording has no pitch."""


def contradicting_pitch(waveform: np.ndarray, sr: int, named: int) -> int | None:
    """The note that a recording clearly sounds like, if that is not the named one.

    A note fits by the mean height of its first partials in the spectrum, less half the mean height
    midway between them, where a note an octave lower would have partials of its own.

    Args:
        waveform: ``(n,)`` recording of one note.
        sr: its sampling rate in Hz.
        named: MIDI number that its name says.

    Returns:
        MIDI number of the note that fits best; None if the named one fits about as well, if the
        recording has no pitch or is too short to tell, or if no piano has the named note.

    Example:
        >>> t = np.arange(16000) / 16000
        >>> tone = sum(np.sin(2 * np.pi * 220 * k * t) / k for k in range(1, 9))
        >>> contradicting_pitch(tone, 16000, 57), contradicting_pitch(tone, 16000, 60)
        (None, 57)
    """
    loud = np.abs(waveform) > 0.1 * np.abs(waveform).max()
    start = int(np.argmax(loud))
    segment = waveform[start : start + round(SECONDS * sr)]
    if named not in PITCHES or len(segment) / sr < FEWEST_PERIODS / _frequency(named):
        return None
    n = 2 ** int(np.ceil(np.log2(2 * SECONDS * sr)))
    spectrum = np.sqrt(np.abs(np.fft.rfft(segment * np.hanning(len(segment)), n)))
    spectrum[: int(25 * n / sr)] = 0  # rumble
    pitches, edges, weights = _combs(n, sr)
    heights = np.maximum.reduceat(spectrum, edges)[::2].reshape(len(pitches), 2 * N_PARTIALS)
    fits = (weights * heights).sum(axis=1) / spectrum.max()
    if named not in pitches:
        return None
    audible = FEWEST_PERIODS / _frequency(pitches) <= len(segment) / sr
    best = int(np.argmax(np.where(audible, fits, -np.inf)))
    clear = fits[best] - fits[pitches == named][0] > MARGIN
    toneless = np.median(fits) > TONELESS * fits[best]
    return int(pitches[best]) if clear and not toneless else None


def _frequency(pitch: Any) -> Any:
    return 440.0 * 2.0 ** ((np.asarray(pitch) - 69) / 12)


@lru_cache(maxsize=4)
def _combs(n: int, sr: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each pitch with a partial below half the rate: bins where partials and the points midway
    begin and end, alternating, and their weights ``(pitches, 2 N_PARTIALS)``."""
    limit = min(HIGHEST, 0.45 * sr)
    pitches = PITCHES[_frequency(PITCHES) < limit]
    order = np.arange(1, N_PARTIALS + 1)
    f0 = _frequency(pitches)[:, None]
    weight = np.where(f0 * order < limit, order**-0.5, 0.0)
    weight /= weight.sum(axis=1, keepdims=True)
    centres = np.minimum(np.concatenate([f0 * order, f0 * (order - 0.5)], axis=1), limit)
    ratio = 2 ** (TOLERANCE / 12)
    begin = np.floor(centres / ratio * n / sr).astype(int)
    end = np.ceil(centres * ratio * n / sr).astype(int) + 1
    edges = np.stack([begin, end], axis=-1).ravel()
    return pitches, edges, np.concatenate([weight, -0.5 * weight], axis=1)
