"""Two-hand pieces."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from studies.two_hands import two_hands

from dds_fast.datasets import Recording, find_notes


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Recording]:
    folder = tmp_path_factory.mktemp("notes")
    rng = np.random.default_rng(0)
    for pitch in range(36, 96):
        soundfile.write(folder / f"{pitch}_a.wav", rng.uniform(-0.5, 0.5, 4000), 4000)
    return find_notes([folder])


def test_each_hand_sounds_where_its_notes_are(recordings: list[Recording]) -> None:
    pieces = list(two_hands(recordings, n_pieces=3, sr=4000, random_state=1))
    assert len(pieces) == 3
    for stems, labels in pieces:
        assert np.abs(stems.sum(0)).max() == pytest.approx(0.8, rel=1e-5)
        times = np.arange(stems.shape[1]) / 4000
        for stem, hand in zip(stems, ("left", "right"), strict=True):
            intervals = labels.intervals[labels.tracks == hand]
            assert len(intervals) > 8
            # A note lasts at most until it is damped, and at most a second here.
            may = np.zeros(len(times), bool)
            for onset, offset in intervals:
                may |= (times >= onset - 1e-3) & (times < min(offset + 0.25, onset + 1.0) + 1e-3)
            assert np.abs(stem[~may]).max(initial=0) < 1e-3
            for onset, _ in intervals:
                assert np.abs(stem[int(onset * 4000) :][:40]).max() > 0.01


def test_seeds(recordings: list[Recording]) -> None:
    first, again, other = (
        next(iter(two_hands(recordings, n_pieces=1, sr=4000, random_state=n))) for n in (1, 1, 2)
    )
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1].intervals, again[1].intervals)
    assert first[0].shape != other[0].shape or not np.array_equal(first[0], other[0])


def test_pitches_stay_on_the_keyboard(recordings: list[Recording]) -> None:
    for _, labels in two_hands(recordings, n_pieces=30, sr=4000, random_state=3):
        assert labels.pitches.min() >= 36 and labels.pitches.max() <= 95
