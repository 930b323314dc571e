"""Hits in made activations."""

from __future__ import annotations

import numpy as np
import pytest

from dds_fast.notes.found import Detection, find_notes
from dds_fast.notes.hits import hits

RATE = 50.0
DRUMS = Detection(upper=1.0, lower=0.5, min_duration=0.05, max_gap=0.05, hits=True)


def decays(onsets: dict[int, float], n: int = 200, fall: float = 0.8) -> np.ndarray:
    """An activation that jumps at frames and dies away by a factor per frame."""
    activation = np.zeros(n)
    for onset, strength in onsets.items():
        activation[onset:] = np.maximum(activation[onset:], strength * fall ** np.arange(n - onset))
    return activation


def test_every_jump_is_a_hit() -> None:
    onsets = {0: 6.0, 30: 5.0, 36: 6.0, 90: 2.0, 199: 3.0}
    assert hits(decays(onsets), RATE, least=1.0, apart=0.05) == list(onsets)


def test_a_hit_into_the_ring_of_the_last() -> None:
    activation = decays({20: 8.0, 26: 8.0}, fall=0.95)
    (first, second) = find_notes(activation[None], ["crash"], RATE, DRUMS)
    assert (first.start, second.start) == (0.4, 0.52)
    assert first.end == pytest.approx(0.51)  # the second hit ends it


def test_slow_swells_and_small_jumps_are_none() -> None:
    swell = np.concatenate([np.linspace(0, 20, 100), np.linspace(20, 0, 100)])
    assert hits(swell, RATE, least=1.0, apart=0.05) == []
    assert hits(decays({50: 0.9}), RATE, least=1.0, apart=0.05) == []


def test_a_hit_lasts_as_long_as_it_sounds() -> None:
    rows = np.stack([decays({50: 4.0}, fall=0.1), decays({50: 4.0}, fall=0.9)])
    short, long = sorted(find_notes(rows, ["kick", "ride"], RATE, DRUMS), key=lambda n: n.end)
    assert (short.source, long.source) == ("kick", "ride")
    assert short.end - short.start == pytest.approx(0.05)
    assert long.end - long.start == pytest.approx((20 - 0.5) / RATE)  # 4 * 0.9^20 < 0.5


@pytest.mark.parametrize("rate", [3.0, 31.25, 50.0, 1000.0])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_any_rate_and_length(rate: float, n: int) -> None:
    activation = np.zeros(n)
    activation[n // 2 :] = 5.0
    assert hits(activation, rate, least=1.0, apart=0.05) == [n // 2]
