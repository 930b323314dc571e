"""Mixtures hold what they say they hold."""

from __future__ import annotations

import numpy as np
import pytest

from dds_fast.datasets import mixtures
from dds_fast.datasets.mixtures import SHORTEST, Take, random_mixture

SR = 8000


def tone(hertz: float, decay: float = 2.0, seconds: float = 1.5) -> np.ndarray:
    t = np.arange(round(seconds * SR)) / SR
    return np.exp(-decay * t) * np.sin(2 * np.pi * hertz * t)


TAKES = [[Take.of(tone(hertz), SR)] for hertz in (220, 330, 500, 800)]


def test_a_take_begins_at_its_attack_and_ends_where_it_has_died_away() -> None:
    silence = np.zeros(SR // 2)
    take = Take.of(np.concatenate([silence, 0.25 * tone(440, decay=10), silence]), SR)
    assert np.abs(take.waveform).max() == 1
    assert np.abs(take.waveform[: SR // 50]).max() > 0.8
    # Energy falls by 40 dB when the amplitude, exp(-10 t), falls by 40 dB / 2 each way.
    assert take.seconds == pytest.approx(np.log(100) / 10, abs=0.05)
    with pytest.raises(ValueError, match="silent"):
        Take.of(silence, SR)


def test_what_was_played_is_what_sounds() -> None:
    for seed in range(5):
        waveform, played = random_mixture(TAKES, 6.0, SR, seed)
        assert waveform.shape == (6 * SR,)
        assert 0.4 <= np.abs(waveform).max() <= 0.9
        times = np.arange(0.3, 5.5, 0.1)
        roll = played.roll(len(TAKES), times)
        energy = np.empty(roll.shape)
        for row, hertz in enumerate((220, 330, 500, 800)):
            for column, time in enumerate(times):
                n = np.arange(round(time * SR), round(time * SR) + SR // 10)
                wave = np.exp(-2j * np.pi * hertz * n / SR)
                energy[row, column] = np.abs((waveform[n[0] : n[-1] + 1] * wave).mean())
        assert energy[roll].mean() > 3 * energy[~roll].mean()


def test_a_source_never_sounds_twice_at_once() -> None:
    for seed in range(10):
        _, played = random_mixture(TAKES, 8.0, SR, seed)
        for source in range(len(TAKES)):
            own = played.intervals[played.sources == source]
            assert np.all(own[1:, 0] >= own[:-1, 1])
        lengths = np.diff(played.intervals)
        assert len(lengths) > 3 and np.all(lengths > 0) and lengths.max() < 2
        assert played.intervals.max() <= 8.0


def test_notes_are_repeated_while_they_sound() -> None:
    again = 0
    for seed in range(10):
        _, played = random_mixture(TAKES, 8.0, SR, seed)
        for source in range(len(TAKES)):
            own = played.intervals[played.sources == source]
            again += int(np.sum(own[1:, 0] - own[:-1, 1] < 1e-9))
    assert again > 5
    assert SHORTEST > 0


def test_kin_are_played_together() -> None:
    kinship = np.zeros((8, 8))
    kinship[0, 7] = kinship[7, 0] = 1.0
    takes = TAKES + TAKES

    def together(**options: np.ndarray) -> int:
        count = 0
        for seed in range(60):
            _, played = random_mixture(takes, 6.0, SR, seed, **options)
            starts = [played.intervals[played.sources == source, 0] for source in (0, 7)]
            count += int(np.sum(np.abs(starts[0][:, None] - starts[1]) < 0.02))
        return count

    assert together(kinship=kinship) > 1.5 * together()


def test_the_seed_decides() -> None:
    first, again, other = (random_mixture(TAKES, 3.0, SR, seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_one_source_is_enough() -> None:
    waveform, played = random_mixture(TAKES[:1], 4.0, SR)
    assert np.isfinite(waveform).all() and set(played.sources) == {0}


@pytest.mark.parametrize(
    ("takes", "seconds", "message"),
    [
        ([], 3.0, "a take of every"),
        ([TAKES[0], []], 3.0, "a take of every"),
        (TAKES, 0.3, "at least"),
    ],
)
def test_what_cannot_be_mixed_is_refused(takes: list, seconds: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        random_mixture(takes, seconds, SR)


def test_notes_are_unlike_the_take_by_as_much_as_is_asked() -> None:
    t = np.arange(16000) / 16000
    take = (np.exp(-3 * t) * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    same = mixtures._another(take, 0.0, 16000, np.random.default_rng(0))
    np.testing.assert_allclose(same, take[: len(same)], atol=1e-6)
    other = mixtures._another(take, 1.0, 16000, np.random.default_rng(0))
    spectra = (np.abs(np.fft.rfft(x, 160000)) for x in (take, other))
    peak, moved = (int(x.argmax()) for x in spectra)
    assert moved != peak and abs(1200 * np.log2(moved / peak)) < 60  # a few cents, as drawn
    others = [
        mixtures._another(take, 1.0, 16000, np.random.default_rng(seed)) for seed in range(20)
    ]
    begins = [np.abs(x[:160]).max() / np.abs(x).max() for x in others]
    assert min(begins) < 0.7 < 0.9 < max(begins)  # attacks up to 30 ms, and as quick as the take's
