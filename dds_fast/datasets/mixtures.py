"""Music mixed at random from isolated notes: what a dictionary is calibrated on.

It knows what sounds when, as it was put there, and needs no labelled recording. Polyphony, rhythm,
levels, repetition, pedal, room, colour and noise are drawn anew for each mixture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from dds_fast.datasets.chords import damped

LEAD_IN = 0.25
"""Seconds before the first note."""

SHORTEST = 0.05
"""Seconds; notes that the next stroke of their source would cut shorter are left out."""

ATTACK = 1e-3
"""A take begins where its energy first reaches this share of the greatest, within 2 ms."""

RING = 1e-4
"""A take has died away where its energy stays below this share of the greatest."""

N_BANDS = 12
CENTS, DECIBELS, DECAY = 15.0, 10.0, 1.5
"""Standard deviations of a note's pitch, of the gains of its bands, and of the rate (in 1/s) at
which it decays faster or slower, in the mixtures where notes are least like the takes."""

SLOWEST = 0.03
"""Longest attack there, in seconds."""

BLOCK = 0.002
LEAST_VELOCITY, MOST_VELOCITY = 20.0, 120.0


@dataclass(frozen=True, eq=False)
class Take:
    """One take of a source, from its attack on, at a peak of one.

    Attributes:
        waveform: ``(n,)`` float32.
        seconds: until it has died away.

    Example:
        >>> tone = np.concatenate([np.zeros(800), np.ones(1600), np.zeros(5600)])
        >>> take = Take.of(tone, sr=16000)
        >>> len(take.waveform), take.seconds
        (7200, 0.1)
    """

    waveform: np.ndarray
    seconds: float

    @classmethod
    def of(cls, waveform: np.ndarray, sr: float) -> Take:
        """A recording without what comes before its attack.

        Raises:
            ValueError: it is silent.
        """
        block = max(1, round(BLOCK * sr))
        n_blocks = -(-len(waveform) // block)
        padded = np.pad(waveform, (0, n_blocks * block - len(waveform)))
        energy = np.square(padded.reshape(n_blocks, block), dtype=np.float64).sum(axis=1)
        if not energy.max(initial=0) > 0:
            raise ValueError("the recording is silent")
        first = int(np.argmax(energy >= ATTACK * energy.max()))
        last = int(np.flatnonzero(energy >= RING * energy.max())[-1]) + 1
        own = np.asarray(waveform[first * block :], dtype=np.float32)
        return cls(own / np.abs(own).max(), (last - first) * block / sr)


@dataclass(frozen=True, eq=False)
class Played:
    """What sounds in a mixture.

    Attributes:
        intervals: ``(n, 2)`` onset and offset in seconds.
        sources: ``(n,)`` index of each note's source.
        velocities: ``(n,)``; a note's peak is ``(velocity / 127)^2`` times the mixture's gain.

    Example:
        >>> played = Played(np.array([[0.25, 0.75]]), np.array([1]), np.array([80.0]))
        >>> played.roll(2, np.array([0.0, 0.5])).astype(int)
        array([[0, 0],
               [0, 1]])
    """

    intervals: np.ndarray
    sources: np.ndarray
    velocities: np.ndarray

    def roll(self, n_sources: int, times: np.ndarray) -> np.ndarray:
        """``(S, T)``: True where a source sounds at a frame's centre."""
        roll = np.zeros((n_sources, len(times)), dtype=bool)
        for (onset, offset), source in zip(self.intervals, self.sources, strict=True):
            roll[source, (times >= onset) & (times < offset)] = True
        return roll


def random_mixture(
    takes: Sequence[Sequence[Take]],
    seconds: float,
    sr: float,
    random_state: int | Sequence[int] = 0,
    *,
    kinship: np.ndarray | None = None,
) -> tuple[np.ndarray, Played]:
    """Notes struck at random, added up by program.

    Args:
        takes: of each of the S sources; one at least.
        seconds: length of the mixture.
        sr: sampling rate in Hz.
        random_state: seed of everything random.
        kinship: ``(S, S)``, how easily two sources are mistaken for each other, such as an octave:
            three in ten further notes of a chord are drawn by it.

    Returns:
        ``(n,)`` float32 waveform, silent for its first 0.25 s, and what was played.

    Raises:
        ValueError: no takes of a source, or too few seconds for a note.

    Example:
        >>> n = np.arange(16000)
        >>> takes = [[Take.of(np.exp(-n / 4000) * np.sin(n / t), sr=16000)] for t in (4, 5)]
        >>> waveform, played = random_mixture(takes, seconds=3, sr=16000)
        >>> waveform.shape, set(played.sources.tolist())
        ((48000,), {0, 1})
    """
    if not takes or not all(takes):
        raise ValueError("a mixture needs a take of every source")
    if seconds < 2 * LEAD_IN:
        raise ValueError(f"a mixture has at least {2 * LEAD_IN} seconds, not {seconds}")
    rng = np.random.default_rng(random_state)
    rows = _without_overlaps(_struck(takes, seconds, rng, kinship))
    n = round(seconds * sr)
    mix = np.zeros(n)
    damping, strangeness = rng.uniform(0.1, 0.35), rng.uniform() ** 2
    for onset, offset, source, velocity, index in rows:
        take = _another(takes[source][index].waveform, strangeness, sr, rng)
        first = round(onset * sr)
        note = damped(take[: n - first], offset - onset, sr, damping)
        mix[first : first + len(note)] += note * (velocity / 127) ** 2
    mix = _coloured(_in_a_room(mix, sr, rng), sr, rng)
    mix *= rng.uniform(0.4, 0.9) / max(np.abs(mix).max(), 1e-9)
    intervals = [
        (onset, min(offset, onset + takes[source][index].seconds, seconds))
        for onset, offset, source, _, index in rows
    ]
    return mix.astype(np.float32), Played(
        np.array(intervals).reshape(-1, 2),
        np.array([row[2] for row in rows], dtype=int),
        np.array([row[3] for row in rows]),
    )


_Row = tuple[float, float, int, float, int]
"""Onset, offset, source, velocity, index of the take."""


def _struck(
    takes: Sequence[Sequence[Take]], seconds: float, rng: Generator, kinship: np.ndarray | None
) -> list[_Row]:
    """The notes in the order of their onsets; a source may be struck again while it sounds."""
    S = len(takes)
    gap, hold = np.exp(rng.uniform(np.log([0.1, 0.2]), np.log([0.7, 1.2])))
    regular, local, pedal = rng.random(3) < (0.4, 0.5, 0.35)
    further, repeated = rng.choice([0.15, 0.4, 0.65]), rng.uniform(0, 0.5)
    most = min(int(rng.integers(2, 7)), S)
    loudness, spread = rng.uniform(40, 85), rng.uniform(3, 20)
    now, lifted, centre = LEAD_IN, 0.0, rng.uniform(0.2, 0.8) * S
    rows: list[_Row] = []
    recent: list[int] = []
    while now < seconds - LEAD_IN:
        centre = float(np.clip(centre + rng.normal(0, 0.05 * S), 0, S - 1))
        size = min(int(rng.geometric(1 - further)), most)
        size = max(1, min(size, most - sum(row[1] > now for row in rows)))
        chord: list[int] = []
        if len(recent) >= size and rng.random() < repeated:
            chord = list(dict.fromkeys(recent[-size:]))
        while len(chord) < size:
            kin = None if kinship is None or not chord else kinship[rng.choice(chord)]
            if kin is not None and rng.random() < 0.3 and kin.sum() > 0:
                source = int(rng.choice(S, p=kin / kin.sum()))
            elif local and rng.random() < 0.7:
                source = int(np.clip(round(rng.normal(centre, 0.12 * S)), 0, S - 1))
            else:
                source = int(rng.integers(S))
            if source not in chord:
                chord.append(source)
            elif local:
                centre = float(rng.uniform(0, S - 1))
        while lifted <= now:
            lifted += rng.uniform(0.5, 2)
        for source in chord:
            onset = now + rng.uniform(0, 0.015)
            held = hold * np.exp(rng.normal(0, 0.5))
            held = max(held, lifted - now) if pedal else held
            velocity = float(np.clip(rng.normal(loudness, spread), LEAST_VELOCITY, MOST_VELOCITY))
            offset = min(onset + max(held, 0.08), seconds)
            rows.append((onset, offset, source, velocity, int(rng.integers(len(takes[source])))))
        recent = (recent + chord)[-8:]
        now += gap if regular else 0.03 + rng.exponential(gap)
    return sorted(rows)


def _without_overlaps(rows: list[_Row]) -> list[_Row]:
    """Each source's notes end where it is struck again."""
    struck_again: dict[int, float] = {}
    kept = []
    for onset, offset, source, velocity, index in reversed(rows):
        offset = min(offset, struck_again.get(source, offset))
        if offset - onset >= SHORTEST:
            kept.append((onset, offset, source, velocity, index))
            struck_again[source] = onset
    return kept[::-1]


def _another(take: np.ndarray, strangeness: float, sr: float, rng: Generator) -> np.ndarray:
    """As another stroke, player or instrument might sound.

    Otherwise a calibration would know only notes that the dictionary explains to the last bit.
    """
    ratio = 2 ** (strangeness * rng.normal(0, CENTS) / 1200)
    detuned = np.interp(np.arange(0, len(take) - 1, ratio), np.arange(len(take)), take)
    t = np.arange(len(detuned)) / sr
    decay = np.exp(np.clip(strangeness * rng.normal(0, DECAY) * t, -3, 0.7))
    attack = np.minimum(1, (t + 1e-4) / (1e-4 + strangeness * rng.uniform(0, SLOWEST)))
    gains_db = strangeness * rng.normal(0, DECIBELS, N_BANDS)
    return _equalized(detuned * decay * attack, gains_db, sr)


def _in_a_room(waveform: np.ndarray, sr: float, rng: Generator) -> np.ndarray:
    """Six times in ten with a reverberation of noise that decays by 60 dB in 0.2 to 0.9 s."""
    if rng.random() >= 0.6:
        return waveform
    from scipy.signal import fftconvolve

    n = round(rng.uniform(0.2, 0.9) * sr)
    tail = rng.normal(size=n) * 10 ** (-3 * np.arange(n) / n)
    tail[: round(0.003 * sr)] = 0
    tail *= 10 ** (rng.uniform(-16, -4) / 20) / np.linalg.norm(tail)
    tail[0] = 1
    return fftconvolve(waveform, tail)[: len(waveform)]


def _coloured(waveform: np.ndarray, sr: float, rng: Generator) -> np.ndarray:
    """Through a random equalizer of twelve bands; most have noise 40 to 75 dB below."""
    n = len(waveform)
    coloured = _equalized(waveform, rng.normal(0, rng.uniform(0, 4), N_BANDS), sr)
    slope = np.maximum(np.fft.rfftfreq(n, 1 / sr), 40) ** rng.uniform(0, 0.7)
    noise = np.fft.irfft(np.fft.rfft(rng.normal(size=n)) / slope, n)
    level = coloured.std() * 10 ** (rng.uniform(-75, -40) / 20) * (rng.random() < 0.7)
    return coloured + noise * (level / noise.std())


def _equalized(waveform: np.ndarray, gains_db: np.ndarray, sr: float) -> np.ndarray:
    """Through bands of equal width in octaves from 60 Hz on."""
    bands = np.linspace(np.log2(60), np.log2(sr / 2), len(gains_db))
    f = np.log2(np.maximum(np.fft.rfftfreq(len(waveform), 1 / sr), 30))
    equalizer = 10 ** (np.interp(f, bands, gains_db) / 20)
    return np.fft.irfft(np.fft.rfft(waveform) * equalizer, len(waveform))
