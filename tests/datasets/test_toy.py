"""Toy waves by their definition."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dds_fast.datasets import ToyWaves
from dds_fast.datasets.toy import KEYS, SHAPES, SR, add_noise, period, wave

DEFINITIONS = {
    "sin": lambda u: np.sin(2 * np.pi * u),
    "square": lambda u: np.where(u < 0.5, 1.0, -1.0),
    "saw": lambda u: 2 * u - 1,
    "triangle": lambda u: 1 - 4 * np.abs(u - 0.5),
}
"""By the share u of a period that has passed."""


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("samples", "phase"), [(534, 0), (33, 7), (8, 5)])
def test_waves_by_their_definition(shape: str, samples: int, phase: int) -> None:
    share = (np.arange(1200) + phase) % samples / samples
    expected = DEFINITIONS[shape](share)
    np.testing.assert_allclose(wave(shape, 1200, samples, phase), expected, atol=1e-12)


def test_periods_are_rounded_down() -> None:
    assert [period(key) for key in (1, 49, 88)] == [534, 33, 3]
    for key in KEYS["code"]:
        assert period(key) == math.floor(SR / (440 * 2 ** ((key - 49) / 12)))


@pytest.mark.parametrize(
    ("rule", "n_keys", "lowest", "highest"),
    [("thesis", 88, 27.5, 4186), ("code", 649, 26.09, 1102)],
)
def test_ranges_of_keys(rule: str, n_keys: int, lowest: float, highest: float) -> None:
    frequencies = 440 * 2 ** ((KEYS[rule] - 49) / 12)
    assert len(frequencies) == n_keys
    assert frequencies.min() == pytest.approx(lowest, rel=1e-3)
    assert frequencies.max() == pytest.approx(highest, rel=1e-3)


@pytest.mark.parametrize("rule", ["thesis", "code"])
def test_sources_are_waves_of_keys_with_phases_and_amplitudes(rule: str) -> None:
    waves = ToyWaves(n_items=60, n_samples=1200, keys=rule)
    periods = sorted({period(key) for key in KEYS[rule]})
    found = []
    for i in range(len(waves)):
        item = waves[i]
        assert item.shape == (4, 1200) and item.dtype == np.float32
        for shape, signal in zip(SHAPES, item, strict=True):
            repeats = [p for p in periods if np.array_equal(signal[p:], signal[:-p])]
            assert repeats, (shape, i)
            one = wave(shape, repeats[0], repeats[0])
            scaled = one[None] * np.abs(signal[: repeats[0]]).max() / np.abs(one).max()
            turns = [
                np.abs(np.roll(scaled[0], -k) - signal[: repeats[0]]).max()
                for k in range(repeats[0])
            ]
            assert min(turns) < 1e-6
            found.append(
                (
                    repeats[0],
                    int(np.argmin(turns)) / repeats[0],
                    np.abs(signal).max() / np.abs(one).max(),
                )
            )
    drawn, phases, amplitudes = map(np.array, zip(*found, strict=True))
    assert 0.8 <= amplitudes.min() < 0.83 and 0.97 < amplitudes.max() <= 1.0000001
    # 240 draws: all ends of the ranges come up.
    assert drawn.min() <= np.quantile(periods, 0.3) and drawn.max() >= np.quantile(periods, 0.7)
    assert phases.min() < 0.1 and phases.max() > 0.9


def test_items_are_the_same_again_and_differ_by_item_seed_and_source() -> None:
    waves, other = (ToyWaves(n_items=3, n_samples=100, random_state=n) for n in (0, 1))
    assert np.array_equal(waves[1], waves[1])
    assert not np.array_equal(waves[0], waves[1]) and not np.array_equal(waves[1], other[1])
    short = ToyWaves(n_items=3, n_samples=50)
    assert np.array_equal(short[1], waves[1][:, :50])
    with pytest.raises(IndexError, match="item 3 of a set of 3"):
        waves[3]
    assert (len(ToyWaves()), ToyWaves().n_samples, ToyWaves().sr) == (5000, 48_000, 14_700)


def test_noise_of_the_thesis_is_white_and_not_capped() -> None:
    clean = np.full((2, 50_000), 0.9, np.float32)
    noise = add_noise(clean, 0.3, np.random.default_rng(0)) - clean
    assert noise.dtype == np.float32
    assert noise.std() == pytest.approx(0.3, rel=0.02) and abs(noise.mean()) < 0.005
    assert abs(np.corrcoef(noise[0, 1:], noise[0, :-1])[0, 1]) < 0.02
    assert (clean + noise).max() > 1.5


def test_noise_of_the_program_is_scaled_per_signal_and_capped() -> None:
    clean = np.zeros((500, 400), np.float32)
    noisy = add_noise(clean, 0.2, np.random.default_rng(0), "code")
    deviations = noisy.std(axis=1) / 0.2
    # U(0, 1): mean 1/2, deviation 0.29, so that 500 of them have a standard error of 0.013.
    assert deviations.mean() == pytest.approx(0.5, abs=0.05)
    assert deviations.min() < 0.05 and deviations.max() > 0.92
    assert np.abs(add_noise(clean + 0.9, 2.0, np.random.default_rng(0), "code")).max() == 1


def test_no_noise_is_a_copy() -> None:
    clean = np.ones((2, 5), np.float32)
    same = add_noise(clean, 0.0, np.random.default_rng(0))
    assert np.array_equal(same, clean) and same is not clean


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="keys must be"):
        ToyWaves(keys="piano")
    with pytest.raises(ValueError, match="n_samples must be"):
        ToyWaves(n_samples=0)
    with pytest.raises(ValueError, match="shape must be"):
        wave("pulse", 4, 4)
    for sigma in (-1.0, math.nan):
        with pytest.raises(ValueError, match="sigma must be"):
            add_noise(np.zeros(3), sigma, np.random.default_rng(0))
    with pytest.raises(ValueError, match="noise rule must be"):
        add_noise(np.zeros(3), 0.1, np.random.default_rng(0), "pink")
