"""Random chords mixed from isolated notes, after the RAND part of MAPS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from dds_fast import audio
from dds_fast.datasets.labels import Labels
from dds_fast.datasets.note_files import Recording

LEAD_IN = 0.25
JITTER = 0.02
HOLD = (0.9, 1.5)
DAMPING = 0.25
DURATION = 2.2
CHORD_PEAK = (0.5, 0.9)

INTENSITIES = {"60-68": (60, 68), "32-96": (32, 96)}
"""Lowest and highest velocity of MAPS's chords, by the name of their folder."""


def random_chords(
    recordings: Sequence[Recording],
    *,
    polyphony: int,
    n_chords: int,
    sr: int = 16000,
    velocities: tuple[int, int] = (32, 96),
    seed: int = 0,
) -> Iterator[tuple[np.ndarray, Labels]]:
    """Chords of random keys, each key one of its recordings, added up by program.

    Keys are drawn uniformly without repetition; a note of velocity v peaks at ``(v / 127)^2``, is
    held for 0.9 to 1.5 s and then damped by 60 dB in 0.25 s. A label ends where damping begins.

    Args:
        recordings: isolated notes that begin at their attack.
        polyphony: keys per chord, 2 to 7 in MAPS.
        n_chords: how many chords.
        sr: sampling rate in Hz.
        velocities: lowest and highest velocity, see `INTENSITIES`.
        seed: of everything random.

    Yields:
        ``(n,)`` float32 waveform of 2.2 s and its labels.

    Raises:
        ValueError: fewer pitches than `polyphony`, or a note that is silent or cannot be read.
    """
    by_pitch: dict[int, list[Recording]] = {}
    for recording in recordings:
        by_pitch.setdefault(recording.pitch, []).append(recording)
    if polyphony > len(by_pitch):
        raise ValueError(f"a chord of {polyphony} keys needs as many pitches, not {len(by_pitch)}")
    rng = np.random.default_rng(seed)
    for _ in range(n_chords):
        pitches = np.sort(rng.choice(sorted(by_pitch), polyphony, replace=False))
        mix = np.zeros(round(DURATION * sr), dtype=np.float32)
        intervals, chord_velocities = [], []
        for pitch in pitches:
            options = by_pitch[int(pitch)]
            path = options[rng.integers(len(options))].path
            note = audio.load(path, sr)
            if not note.any():
                raise ValueError(f"{path}: the recording is silent")
            velocity = int(rng.integers(velocities[0], velocities[1] + 1))
            onset, held = LEAD_IN + rng.uniform(0, JITTER), rng.uniform(*HOLD)
            first = round(onset * sr)
            note = _damped(note, held, sr)[: len(mix) - first]
            note *= (velocity / 127) ** 2 / np.abs(note).max()
            mix[first : first + len(note)] += note
            intervals.append((onset, onset + held))
            chord_velocities.append(velocity)
        mix *= rng.uniform(*CHORD_PEAK) / np.abs(mix).max()
        yield mix, Labels(np.array(intervals), pitches, np.array(chord_velocities, dtype=float))


def _damped(note: np.ndarray, held: float, sr: int) -> np.ndarray:
    seconds = np.arange(len(note)) / sr
    decay_db = np.maximum(0, seconds - held) * (60 / DAMPING)
    return note * (10 ** (-decay_db / 20)).astype(np.float32)
