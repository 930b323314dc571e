"""The likeliest way through the states, beside all ways that there are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dds_fast.temporal.network import Evidence
from dds_fast.temporal.states import notes, states

RNG = np.random.default_rng(1)


def weight(path: tuple[int, ...], sounding: np.ndarray, struck: np.ndarray) -> float:
    """Log weight of one way; minus infinity where it is not allowed."""
    steps = {(0, 0): 0.0, (0, 1): -2.0, (1, 2): 0.0, (2, 2): 0.0, (2, 0): -1.0, (2, 1): -2.0}
    total = steps.get((0, path[0]), -np.inf)
    total += sum(steps.get(step, -np.inf) for step in itertools.pairwise(path))
    for state, a, b in zip(path, sounding, struck, strict=True):
        p, q = 1 / (1 + np.exp(-a)), 1 / (1 + np.exp(-b))
        total += np.log(p if state else 1 - p) + np.log(q if state == 1 else 1 - q)
    return total


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_it_is_the_likeliest_of_all_ways(scale: float) -> None:
    sounding, struck = scale * RNG.standard_normal((2, 30, 6))
    for row, path in enumerate(states(sounding, struck)):
        ways = itertools.product(range(3), repeat=6)
        best = max(ways, key=lambda way: weight(way, sounding[row], struck[row]))
        assert tuple(path) == best


def test_a_source_that_is_struck_again_sounds_twice() -> None:
    evidence = Evidence.nothing(1, 12)
    evidence.sounding[0, 1:10], evidence.struck[0, [1, 6]] = 6, 6
    first, second = notes(evidence, ["kick"], frame_rate=10)
    assert (first.start, first.end, second.start, second.end) == (0.075, 0.55, 0.575, 0.95)


def test_a_note_that_never_ends_ends_with_the_recording() -> None:
    evidence = Evidence.nothing(1, 8)
    evidence.sounding[0, 3:], evidence.struck[0, 3] = 6, 6
    assert [note.end for note in notes(evidence, [60], frame_rate=1)] == [7.5]


def test_levels_become_velocities() -> None:
    evidence = Evidence.nothing(3, 9)
    evidence.sounding[:, 1:5], evidence.struck[:, 1] = 6, 6
    evidence.level[:] = -50
    evidence.level[:, 3] = [0, -40, -12]  # soon after the attack
    evidence.level[:, 5:] = 20
    assert [note.velocity for note in notes(evidence, [60, 62, 64], 10)] == [127, 13, 64]


def test_sensitivity_finds_more_or_fewer() -> None:
    evidence = Evidence.nothing(2, 9)
    evidence.sounding[:, 1:5] = [[2.0], [-2.0]]
    evidence.struck[:, 1] = [2.0, -1.0]
    found = [len(notes(evidence, [60, 62], 10, sensitivity)) for sensitivity in (-4, 0, 4)]
    assert found == [0, 1, 2]


def test_nothing_is_found_in_silence() -> None:
    assert notes(Evidence.nothing(4, 50), range(4), 10) == []


def test_confidence_is_of_the_attack_and_of_sounding_on() -> None:
    evidence = Evidence.nothing(1, 9)
    evidence.sounding[0, 2:6] = [1, 2, 3, 4]
    evidence.struck[0, 2] = 2
    expected = np.mean(1 / (1 + np.exp([-1, -2, -3, -4]))) / (1 + np.exp(-2))
    for sensitivity in (0.0, 1.0):
        (note,) = notes(evidence, [60], frame_rate=10, sensitivity=sensitivity)
        assert note.confidence == pytest.approx(expected, rel=1e-5)
