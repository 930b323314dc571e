"""Made instruments: everything can be tried, and tested, without recordings.

Decaying harmonic tones of slightly stiff strings. An instrument has a spectrum, a decay and a noise
of its own, drawn from a seed; they stand for no real instrument.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dds_fast.datasets.note_files import Note, write_notes

ATTACK = 0.003
RELEASE = 0.02
LAYERS = (40, 100)
"""MIDI velocities."""


@dataclass(frozen=True, eq=False)
class Instrument:
    """What tells an instrument's tones from another's.

    Attributes:
        name: of its folder.
        partials: ``(n,)`` amplitudes of the partials at full velocity.
        decay: decay rate of a partial of 440 Hz, per second.
        stiffness: inharmonicity B; partial k lies at ``k f0 sqrt(1 + B k^2)``.
        hammer: amplitude of the noise at the attack.

    Example:
        >>> instrument = Instrument.draw("mine", random_state=0)
        >>> instrument.partials.shape, instrument.tone(69, 100, seconds=0.5, sr=16000).shape
        ((20,), (8000,))
    """

    name: str
    partials: np.ndarray
    decay: float
    stiffness: float
    hammer: float

    @classmethod
    def draw(cls, name: str, random_state: int) -> Instrument:
        """An instrument from a seed."""
        rng = np.random.default_rng(random_state)
        order = np.arange(1, 21)
        partials = order ** -rng.uniform(0.6, 1.8) * rng.uniform(0.3, 1.0, len(order))
        return cls(
            name,
            partials / partials.sum(),
            decay=rng.uniform(1.0, 3.0),
            stiffness=10 ** rng.uniform(-4.5, -3.5),
            hammer=rng.uniform(0.005, 0.03),
        )

    def tone(
        self, pitch: int, velocity: int, seconds: float, sr: int, random_state: int = 0
    ) -> np.ndarray:
        """``(n,)`` float32 waveform: soft notes are duller, high partials and notes decay faster.

        Args:
            pitch: MIDI number.
            velocity: 1 to 127; the amplitude grows with its square.
            seconds: length, the last 20 ms faded out.
            sr: sampling rate in Hz.
            random_state: seed of phases and noise.
        """
        rng = np.random.default_rng([random_state, pitch, velocity])
        time = np.arange(round(seconds * sr)) / sr
        order = np.arange(1, len(self.partials) + 1)
        f0 = 440 * 2 ** ((pitch - 69) / 12)
        frequency = f0 * order * np.sqrt(1 + self.stiffness * order**2)
        loudness = velocity / 127
        wave = np.zeros_like(time)
        for k, f, amplitude in zip(order, frequency, self.partials, strict=True):
            if f < 0.48 * sr:
                envelope = np.exp(-self.decay * np.sqrt(f / 440) * time)
                phase = rng.uniform(0, 2 * np.pi)
                level = amplitude * loudness ** (1 + k / 10)
                wave += level * envelope * np.sin(2 * np.pi * f * time + phase)
        noise = rng.standard_normal(len(time)) * np.exp(-60 * time)
        wave = loudness * (wave + self.hammer * loudness * noise)
        wave *= np.minimum(1, time / ATTACK) * np.minimum(1, (time[-1] - time) / RELEASE)
        return wave.astype(np.float32)

    def notes(
        self, pitches: Iterable[int], velocities: Sequence[int], seconds: float, sr: int
    ) -> Iterator[Note]:
        """Isolated notes of every pitch and velocity."""
        for pitch in pitches:
            for velocity in velocities:
                wave = self.tone(pitch, velocity, seconds, sr)
                yield Note(pitch, f"v{velocity}", f"{self.name}, velocity {velocity}", wave, sr)


def instruments(n: int, random_state: int = 0) -> list[Instrument]:
    """Instruments "synthetic-0", "synthetic-1", ... of a seed.

    Example:
        >>> [instrument.name for instrument in instruments(2)]
        ['synthetic-0', 'synthetic-1']
    """
    return [Instrument.draw(f"synthetic-{i}", 1000 * random_state + i) for i in range(n)]


def write_instruments(
    folder: str | Path,
    *,
    n_instruments: int = 2,
    pitches: Iterable[int] = range(36, 96),
    velocities: Sequence[int] = LAYERS,
    seconds: float = 1.0,
    sr: int = 16000,
    random_state: int = 0,
    overwrite: bool = False,
) -> list[Path]:
    """Write a folder of isolated notes for each of some made instruments.

    Returns:
        The folders, which `dds_fast.fit` and `dds_fast.datasets.load_notes` take.

    Raises:
        FileExistsError: a folder is there already.

    Example:
        >>> import tempfile
        >>> from dds_fast.datasets import find_notes
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_instruments(folder, pitches=(60, 64), seconds=0.1)
        ...     [f"{r.path.parent.name}/{r.path.name}" for r in find_notes(folder, [64])]
        ['synthetic-0/64_v100.flac', 'synthetic-0/64_v40.flac', ...]
    """
    pitches = tuple(pitches)
    return [
        write_notes(
            Path(folder) / instrument.name,
            instrument.notes(pitches, velocities, seconds, sr),
            overwrite=overwrite,
        )
        for instrument in instruments(n_instruments, random_state)
    ]
