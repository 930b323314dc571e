"""Who owns a source when."""

from __future__ import annotations

import numpy as np
import pytest

from dds_fast.audio.masks import masks, note_shares, only, source_shares
from dds_fast.datasets import Labels

TIMES = np.arange(10) * 0.1


def notes(*rows: tuple[float, float, int]) -> Labels:
    table = np.array(rows)
    return Labels(table[:, :2], table[:, 2].astype(int), np.full(len(table), 64.0))


def shares(groups: dict[str, Labels], lead: float = 0.0) -> dict[str, np.ndarray]:
    names, found = note_shares(groups, (60, 62), TIMES, lead)
    return {
        name: np.stack([np.broadcast_to(share.of_source(row, 0, 10), 10) for row in range(2)])
        for name, share in zip(names, found, strict=True)
    }


def test_a_note_rings_on_until_the_next_begins() -> None:
    found = shares({"a": notes((0.15, 0.25, 60)), "b": notes((0.45, 0.55, 60))})
    # Before all notes the first owns; after it ended, too, until the second begins.
    assert found["a"][0].tolist() == [1, 1, 1, 1, 1, 0, 0, 0, 0, 0]
    assert found["b"][0].tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert not found["a"][1].any() and not found["b"][1].any()


def test_notes_that_sound_together_share() -> None:
    found = shares({"a": notes((0.0, 0.95, 60)), "b": notes((0.25, 0.55, 60))})
    assert found["a"][0].tolist() == [1, 1, 1, 0.5, 0.5, 0.5, 1, 1, 1, 1]
    np.testing.assert_allclose(found["a"][0] + found["b"][0], 1)


def test_a_note_leads_its_onset() -> None:
    found = shares({"a": notes((0.0, 0.2, 60)), "b": notes((0.55, 0.8, 60))}, lead=0.1)
    assert found["b"][0].tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]


def test_shares_of_random_scores_sum_to_one() -> None:
    rng = np.random.default_rng(0)
    groups = {}
    for name in "abc":
        onsets = rng.random(6)
        pitches = rng.choice([60, 62], 6)
        groups[name] = notes(*zip(onsets, onsets + 0.3 * rng.random(6), pitches, strict=True))
    total = sum(shares(groups).values())
    np.testing.assert_allclose(total, 1)


def test_bins_that_no_stem_explains_go_by_level() -> None:
    """A thousandth of a stem's mean over the frame is added to all of its bins."""
    magnitudes = np.array([[[3.0], [0.0], [0.0]], [[0.0], [0.0], [1.5]]])
    expected = [(3 + 0.001) / (3 + 0.0015), 1.0 / 1.5, 0.001 / (1.5 + 0.0015)]
    found = masks(magnitudes)
    np.testing.assert_allclose(found[0, :, 0], expected, rtol=1e-12)
    np.testing.assert_allclose(found.sum(0), 1, rtol=1e-12)


def test_sources_belong_wholly() -> None:
    names, found = source_shares({"x": ["kick"], "y": [60]}, ("kick", "snare", 60))
    assert names == ["x", "y", "rest"]
    assert [share.rows.tolist() for share in found] == [[0], [2], [1]]
    assert all(share.weights.tolist() == [[1]] for share in found)
    assert source_shares({"x": ["a"]}, ("a",))[0] == ["x"]


def test_a_stem_and_the_others_at_times() -> None:
    names, found = note_shares(
        {
            "a": notes((0.0, 0.95, 60)),
            "b": notes((0.25, 0.55, 60)),
            "c": notes((0.0, 0.5, 62)),
        },
        (60, 62),
        TIMES,
        0.0,
    )
    names, (kept, rest) = only("b", names, found)
    assert names == ["b", "rest"]
    np.testing.assert_allclose(kept.of_source(0, 0, 10) + rest.of_source(0, 0, 10), 1)
    assert rest.of_source(1, 0, 10).tolist() == [1] * 10


def test_no_note_of_a_source() -> None:
    with pytest.raises(ValueError, match="no note of these groups"):
        shares({"a": notes((0.0, 1.0, 99))})
