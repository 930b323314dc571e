"""Short two-hand piano pieces mixed from isolated notes, each hand known by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from dds_fast import audio
from dds_fast.datasets.chords import damped
from dds_fast.datasets.notes import Recording
from dds_fast.notes.score import Labels

HANDS = ("left", "right")
BEAT = (0.4, 0.6)
"""Seconds."""

N_BEATS = 16
SCALE = (0, 2, 4, 5, 7, 9, 11)
DEGREES = (0, 3, 4, 5)
LEAD_IN = 0.25
VELOCITIES = (50, 100)
PEAK = 0.8

_Note = tuple[float, float, int, str]
"""Onset and offset in beats, pitch, hand."""


def two_hands(
    recordings: Sequence[Recording], *, n_pieces: int, sr: int = 16000, random_state: int = 0
) -> Iterator[tuple[np.ndarray, Labels]]:
    """Random pieces of 16 beats: broken triads in the left hand, a melody in the right.

    Keys, tempos, triads, melodies and velocities are drawn. The hands meet around middle C, where
    both may play the same key at different times. A note of velocity v peaks at ``(v / 127)^2``
    and is damped by 60 dB in 0.25 s when it ends.

    Args:
        recordings: isolated notes that begin at their attack; MIDI 36 to 95 are used.
        n_pieces: how many.
        sr: sampling rate in Hz.
        random_state: seed of everything random.

    Yields:
        ``(2, n)`` float32 waveforms of the left and the right hand, which sum to the piece, and
        its notes, with the hands as tracks.
    """
    by_pitch: dict[int, list[Recording]] = {}
    for recording in recordings:
        if recording.pitch is not None:
            by_pitch.setdefault(recording.pitch, []).append(recording)
    rng = np.random.default_rng(random_state)
    for _ in range(n_pieces):
        notes, seconds = written(rng)
        stems = np.zeros((2, round(seconds * sr)), np.float32)
        assert notes.tracks is not None
        for (onset, offset), pitch, velocity, hand in zip(
            notes.intervals, notes.pitches.tolist(), notes.velocities, notes.tracks, strict=True
        ):
            options = by_pitch[pitch]
            note = audio.load(options[rng.integers(len(options))].path, sr)
            first = round(onset * sr)
            note = damped(note, offset - onset, sr)[: stems.shape[1] - first]
            note *= (velocity / 127) ** 2 / np.abs(note).max()
            stems[HANDS.index(hand), first : first + len(note)] += note
        stems *= PEAK / np.abs(stems.sum(0)).max()
        yield stems, notes


def written(rng: np.random.Generator) -> tuple[Labels, float]:
    """A piece as it is written, its hands as tracks; and how long it sounds, in seconds."""
    beat = rng.uniform(*BEAT)
    notes = sorted(_left(rng, tonic := int(rng.integers(43, 51))) + _right(rng, tonic + 24))
    velocities = rng.integers(VELOCITIES[0], VELOCITIES[1] + 1, len(notes)).astype(float)
    onsets = np.array([LEAD_IN + start * beat for start, *_ in notes])
    held = np.array([(end - start) * beat for start, end, *_ in notes])
    pitches, hands = (np.array([note[field] for note in notes]) for field in (2, 3))
    intervals = np.stack([onsets, onsets + held], axis=1)
    return Labels(intervals, pitches, velocities, hands), 2 * LEAD_IN + beat * N_BEATS + 1


def _left(rng: np.random.Generator, tonic: int) -> list[_Note]:
    """A triad per four beats: its keys one after the other, or together."""
    notes: list[_Note] = []
    for bar in range(N_BEATS // 4):
        degree = 0 if bar == 0 else int(rng.choice(DEGREES))
        triad = [_pitch(tonic, degree + step) for step in (0, 2, 4)]
        broken = rng.random() < 0.6
        for beat in range(4):
            for key, pitch in enumerate(triad):
                if not broken and beat % 2 == 0:
                    notes.append((4 * bar + beat, 4 * bar + beat + 1.5, pitch, "left"))
                elif broken and (beat, key) in ((0, 0), (1, 2), (2, 1), (3, 2)):
                    notes.append((4 * bar + beat, 4 * bar + beat + 1.0, pitch, "left"))
    return notes


def _right(rng: np.random.Generator, tonic: int) -> list[_Note]:
    """A melody that walks the scale in eighths, quarters and halves, now and then in thirds."""
    notes, degree, beat = [], int(rng.integers(-7, 8)), 0.0
    while beat < N_BEATS:
        length = min(float(rng.choice((0.5, 0.5, 1.0, 2.0))), N_BEATS - beat)
        notes.append((beat, beat + 0.95 * length, _pitch(tonic, degree), "right"))
        if rng.random() < 0.2:
            notes.append((beat, beat + 0.95 * length, _pitch(tonic, degree + 2), "right"))
        beat += length
        step = int(rng.integers(-3, 4)) or 1
        degree = int(np.clip(degree + step, -8, 10))
    return notes


def _pitch(tonic: int, degree: int) -> int:
    return tonic + 12 * (degree // 7) + SCALE[degree % 7]
