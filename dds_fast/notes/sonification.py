"""Notes as sound, to be heard beside the recording they were found in."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dds_fast import scalars
from dds_fast.notes.found import Note, to_midi
from dds_fast.notes.names import parts

PEAK = 0.5


def sonify(notes: Iterable[Note], n_samples: int, sr: float) -> np.ndarray:
    """Notes as sinusoids of their pitches, drums as clicks.

    Args:
        notes: of one recording.
        n_samples: length of the waveform.
        sr: its sampling rate in Hz.

    Returns:
        ``(n_samples,)`` float32, with a peak of 0.5.

    Example:
        >>> wave = sonify([Note(0.25, 0.5, source=69, velocity=100)], n_samples=8000, sr=8000)
        >>> wave.shape, bool(wave[:1900].any()), round(float(np.abs(wave).max()), 2)
        ((8000,), False, 0.5)
    """
    import mir_eval.sonify

    n_samples = scalars.integer("n_samples", n_samples, least=0)
    rate = round(scalars.positive("sr", sr))
    notes = list(notes)
    pitched = [note for note in notes if parts(note.source)[1] is not None]
    hits = np.array([note.start for note in notes if parts(note.source)[1] is None])
    heard = [to_midi(pitched).synthesize(fs=rate)] if pitched else []
    heard += [mir_eval.sonify.clicks(hits, rate)] if len(hits) else []
    made = np.zeros(n_samples)
    for wave in heard:
        length = min(n_samples, len(wave))
        made[:length] += wave[:length]
    peak = np.abs(made).max(initial=0.0)
    return (PEAK / peak * made if peak else made).astype(np.float32)
