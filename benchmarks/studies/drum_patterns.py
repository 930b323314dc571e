"""Drum patterns mixed from one-shots, each hit known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from dds_fast.datasets import Labels
from dds_fast.notes.names import NO_PITCH
from dds_fast.notes.score_text import HIT

TEMPO = (85, 135)
BARS, STEPS = 4, 16
JITTER = 0.004
"""Seconds (standard deviation) by which a drummer misses the grid."""

LEAD_IN, RING = 0.3, 2.2
"""Seconds before the first hit and after the last bar."""

CHOKE = 0.01
"""Seconds in which a closed hi-hat ends the open one, by a factor e."""

PEAK = 0.8
LEVEL = {
    **{"kick": 1.0, "snare": 0.8, "tom_low": 0.8, "tom_high": 0.8},
    **{"crash": 0.6, "ride": 0.4, "hat_open": 0.35, "hat_closed": 0.3},
}
"""Peaks of the loudest hits."""

_Hit = tuple[float, str, float]
"""Seconds, drum, strength from 0 to 1."""


def patterns(
    hits: Mapping[str, Sequence[np.ndarray]], *, n_patterns: int, sr: int, random_state: int
) -> Iterator[tuple[np.ndarray, Labels]]:
    """Random patterns of four bars: straight, with a ride cymbal, or swung, perhaps with a fill.

    Tempo, kicks, ghost notes, open hi-hats, crashes, fills, strengths, jitter, and which of a
    drum's hits sounds, are drawn.

    Args:
        hits: ``(n,)`` waveforms of each drum of `LEVEL`, from their attack.
        n_patterns: how many.
        sr: sampling rate of the hits in Hz.
        random_state: seed of everything random.

    Yields:
        ``(n,)`` waveform and its hits, the drums as tracks.
    """
    rng = np.random.default_rng(random_state)
    for _ in range(n_patterns):
        step = 60 / rng.uniform(*TEMPO) / 4
        played = sorted(_played(rng, step))
        mix = np.zeros(round((LEAD_IN + STEPS * BARS * step + RING) * sr))
        open_hats = np.zeros_like(mix)
        for time, drum, strength in played:
            options = hits[drum]
            wave = options[int(rng.integers(len(options)))]
            first = round(time * sr)
            if drum == "hat_closed":
                ringing = open_hats[first:]
                ringing *= np.exp(-np.arange(len(ringing)) / (CHOKE * sr))
            target = (open_hats if drum == "hat_open" else mix)[first : first + len(wave)]
            gain = strength * LEVEL[drum] / np.abs(wave).max()
            target += gain * wave[: len(target)]
        mix += open_hats
        times = np.array([time for time, *_ in played])
        labels = Labels(
            np.stack([times, times + HIT], axis=1),
            np.full(len(played), NO_PITCH),
            np.array([max(1.0, round(127 * strength)) for *_, strength in played]),
            np.array([drum for _, drum, _ in played]),
        )
        yield (PEAK / np.abs(mix).max() * mix).astype(np.float32), labels


def _played(rng: np.random.Generator, step: float) -> Iterator[_Hit]:
    style = rng.choice(["straight", "ride", "swung"])
    cymbal = "ride" if style == "ride" else "hat_closed"

    def chance(probability: float) -> bool:
        return bool(rng.random() < probability)

    for bar in range(BARS):
        fill = bar == BARS - 1 and chance(0.7)
        for place in range(STEPS):
            late = 0.1 * step if style == "swung" and place % 2 else 0.0
            time = LEAD_IN + (STEPS * bar + place) * step + late + rng.normal(0, JITTER)
            if place == 0 and chance(0.6 if bar == 0 else 0.1):
                yield time, "crash", rng.uniform(0.5, 1)
            if fill and place >= STEPS // 2:
                if chance(0.85):
                    drum = str(rng.choice(["snare", "tom_high", "tom_low"]))
                    yield time, drum, rng.uniform(0.35, 0.9)
                if place % 4 == 0 and chance(0.5):
                    yield time, "kick", rng.uniform(0.5, 1)
                continue
            if place == 0 or (place in (3, 6, 8, 10) and chance(0.45)):
                yield time, "kick", rng.uniform(0.5, 1)
            if place in (4, 12):
                yield time, "snare", rng.uniform(0.6, 1)
            elif chance(0.06):
                yield time, "snare", rng.uniform(0.2, 0.35)
            if place % 2 == 0:
                opened = cymbal == "hat_closed" and place == 14 and chance(0.5)
                yield time, "hat_open" if opened else cymbal, rng.uniform(0.3, 0.7)
            elif chance(0.35 if style == "swung" else 0.1):
                yield time, cymbal, rng.uniform(0.2, 0.4)
