"""Random chords, after the RAND part of MAPS, and note sequences mixed from isolated notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dds_fast import audio
from dds_fast.datasets.note_files import Recording
from dds_fast.notes.score import Labels

LEAD_IN = 0.25
JITTER = 0.02
HOLD = (0.9, 1.5)
DAMPING = 0.25
DURATION = 2.2
CHORD_PEAK = (0.5, 0.9)

LENGTHS = (0.2, 1.5)
MEAN_GAP = 0.15
REPEATED = 0.25
"""Notes of a sequence: seconds held, mean seconds between onsets, share that repeat a key."""

INTENSITIES = {"60-68": (60, 68), "32-96": (32, 96)}
"""Lowest and highest velocity of MAPS's chords, by the name of their folder."""


def random_chords(
    recordings: Sequence[Recording],
    *,
    polyphony: int,
    n_chords: int,
    sr: int = 16000,
    velocities: tuple[int, int] = (32, 96),
    random_state: int = 0,
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
        random_state: seed of everything random.

    Yields:
        ``(n,)`` float32 waveform of 2.2 s and its labels.

    Raises:
        ValueError: fewer pitches than `polyphony`, or a note that is silent or cannot be read.

    Example:
        >>> import tempfile
        >>> from dds_fast.datasets import find_notes, synthetic
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = synthetic.write_instruments(folder, pitches=(60, 64, 67), seconds=0.5)
        ...     ((waveform, labels),) = random_chords(find_notes(folder), polyphony=3, n_chords=1)
        >>> waveform.shape, labels.pitches
        ((35200,), array([60, 64, 67]))
    """
    by_pitch = _by_pitch(recordings)
    if polyphony > len(by_pitch):
        raise ValueError(f"a chord of {polyphony} keys needs as many pitches, not {len(by_pitch)}")
    rng = np.random.default_rng(random_state)
    for _ in range(n_chords):
        pitches = np.sort(rng.choice(sorted(by_pitch), polyphony, replace=False))
        mix = np.zeros(round(DURATION * sr), dtype=np.float32)
        intervals, chord_velocities = [], []
        for pitch in pitches:
            options = by_pitch[int(pitch)]
            path = options[rng.integers(len(options))].path
            velocity = int(rng.integers(velocities[0], velocities[1] + 1))
            onset, held = LEAD_IN + rng.uniform(0, JITTER), rng.uniform(*HOLD)
            _strike(mix, path, onset, held, velocity, sr)
            intervals.append((onset, onset + held))
            chord_velocities.append(velocity)
        mix *= rng.uniform(*CHORD_PEAK) / np.abs(mix).max()
        yield mix, Labels(np.array(intervals), pitches, np.array(chord_velocities, dtype=float))


def random_sequence(
    recordings: Sequence[Recording],
    seconds: float,
    *,
    most_keys: int = 5,
    sr: int = 16000,
    velocities: tuple[int, int] = (32, 96),
    random_state: int = 0,
) -> tuple[np.ndarray, Labels]:
    """Random keys struck one after the other, each one of its recordings, added up by program.

    Onsets come at random, 0.15 s apart on average, and are left out while as many keys as wanted
    are down; that number drifts between 1 and `most_keys`. A note is held for 0.2 to 1.5 s, then
    damped; level, velocity and label are those of `random_chords`. A quarter of the notes repeat
    the key that was released last.

    Args:
        recordings: isolated notes that begin at their attack.
        seconds: length of the sequence.
        most_keys: most keys that are down together.
        sr: sampling rate in Hz.
        velocities: lowest and highest velocity, see `INTENSITIES`.
        random_state: seed of everything random.

    Returns:
        ``(n,)`` float32 waveform, silent for its first 0.25 s, and its labels, sorted by onset.

    Raises:
        ValueError: too few seconds for a note, fewer pitches than `most_keys`, or a note that is
            silent or cannot be read.

    Example:
        >>> import tempfile
        >>> import soundfile
        >>> from dds_fast.datasets import find_notes
        >>> tone = np.sin(np.arange(32000) / 6).astype(np.float32)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for pitch in (60, 64, 67):
        ...         soundfile.write(f"{folder}/{pitch}.wav", tone, 16000)
        ...     waveform, labels = random_sequence(find_notes(folder), 5, most_keys=2)
        >>> waveform.shape, sorted(set(labels.pitches.tolist()))
        ((80000,), [60, 64, 67])
    """
    by_pitch = _by_pitch(recordings)
    if most_keys > len(by_pitch):
        raise ValueError(f"{most_keys} keys together need as many pitches, not {len(by_pitch)}")
    if seconds < LEAD_IN + LENGTHS[0]:
        raise ValueError(f"a sequence has at least {LEAD_IN + LENGTHS[0]} seconds, not {seconds}")
    rng = np.random.default_rng(random_state)
    mix = np.zeros(round(seconds * sr), dtype=np.float32)
    rows = _random_notes(sorted(by_pitch), seconds, most_keys, rng)
    played = rng.integers(velocities[0], velocities[1] + 1, len(rows))
    for (onset, offset, pitch), velocity in zip(rows, played, strict=True):
        options = by_pitch[pitch]
        path = options[rng.integers(len(options))].path
        _strike(mix, path, onset, offset - onset, velocity, sr)
    mix *= rng.uniform(*CHORD_PEAK) / np.abs(mix).max()
    intervals = np.array([row[:2] for row in rows])
    return mix, Labels(intervals, np.array([row[2] for row in rows]), played.astype(float))


def _random_notes(
    pitches: Sequence[int], seconds: float, most_keys: int, rng: np.random.Generator
) -> list[tuple[float, float, int]]:
    """Onset, offset and pitch of each note of a sequence."""
    notes: list[tuple[float, float, int]] = []
    wanted, now = int(rng.integers(1, most_keys + 1)), LEAD_IN
    while now <= seconds - LENGTHS[0]:
        down = {pitch for _, offset, pitch in notes if offset > now}
        if len(down) < wanted:
            released = [note[1:] for note in notes if note[2] not in down]
            if released and rng.random() < REPEATED:
                pitch = max(released)[1]
            else:
                pitch = int(rng.choice([pitch for pitch in pitches if pitch not in down]))
            offset = min(now + rng.uniform(*LENGTHS), seconds)
            notes.append((now, offset, pitch))
        wanted = int(np.clip(wanted + rng.integers(-1, 2), 1, most_keys))
        now += rng.exponential(MEAN_GAP)
    return notes


def _by_pitch(recordings: Sequence[Recording]) -> dict[int, list[Recording]]:
    found: dict[int, list[Recording]] = {}
    for recording in recordings:
        if recording.pitch is not None:
            found.setdefault(recording.pitch, []).append(recording)
    return found


def _strike(mix: np.ndarray, path: Path, onset: float, held: float, velocity: int, sr: int) -> None:
    """Add a note to a waveform, as far as that goes."""
    note = audio.load(path, sr)
    if not note.any():
        raise ValueError(f"{path}: the recording is silent")
    first = round(onset * sr)
    note = damped(note, held, sr)[: len(mix) - first]
    note *= (velocity / 127) ** 2 / np.abs(note).max()
    mix[first : first + len(note)] += note


def damped(note: np.ndarray, held: float, sr: float, damping: float = DAMPING) -> np.ndarray:
    """A note that loses 60 dB in `damping` seconds once it has been held so long."""
    seconds = np.arange(len(note)) / sr
    decay_db = np.maximum(0, seconds - held) * (60 / damping)
    return note * (10 ** (-decay_db / 20)).astype(np.float32)
