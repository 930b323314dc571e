"""Stems in one call."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import CONFIG, KINDS, dictionary, tone

import dds_fast
from dds_fast.datasets import Labels
from dds_fast.decomposition import Decomposition
from dds_fast.separate import decomposition, found_notes, groups_of

OPTIONS = {"sr": 16000, "max_steps": 3}
NOTES = Labels(
    np.array([[0.0, 0.1], [0.1, 0.2], [0.05, 0.15]]), np.array([60, 60, 67]), np.full(3, 64.0)
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("score", [None, NOTES], ids=["alone", "score"])
@pytest.mark.parametrize("by", ["hand", "pitch", "note"])
def test_every_decomposition_gives_stems(kind: str, score: Labels | None, by: str) -> None:
    waveform = tone()
    found = dds_fast.separate(
        waveform, score, by=by, split=64, dictionary=dictionary(kind), **OPTIONS
    )
    np.testing.assert_allclose(sum(found.values()), waveform, atol=1e-4)
    if by == "hand":
        assert sorted(found) == ["left", "right"]


def test_a_score_alone_is_enough() -> None:
    waveform = tone(16000)
    found = dds_fast.separate(waveform, NOTES, sr=16000, by="note", n_steps=3)
    assert list(found) == ["001_C4", "002_G4", "003_C4"]
    np.testing.assert_allclose(sum(found.values()), waveform, atol=1e-4)


def test_groups_win() -> None:
    groups = {"one": NOTES.select(np.array([0])), "others": NOTES.select(np.array([1, 2]))}
    found = dds_fast.separate(tone(16000), NOTES, sr=16000, groups=groups, n_steps=3)
    assert list(found) == ["one", "others"]


def test_an_aligned_score_moves_its_groups() -> None:
    result = decomposition(tone(16000), NOTES, None, sr=16000, align=True, n_steps=1)
    assert not np.array_equal(result.score.intervals, NOTES.intervals)
    groups = groups_of(result, NOTES, "note")
    assert groups["001_C4"].intervals[0].tolist() == result.score.intervals[0].tolist()


def test_one_recording_at_a_time() -> None:
    with pytest.raises(ValueError, match="one recording, not a list"):
        dds_fast.separate([tone()], dictionary=dictionary("nmf"), **OPTIONS)


def test_found_notes_are_those_of_the_result() -> None:
    result = dds_fast.decompose(tone(), dictionary("nmf"), **OPTIONS)
    assert isinstance(result, Decomposition) and result.config == CONFIG
    notes = found_notes(result)
    assert notes.pitches.tolist() == [note.source for note in result.notes()]
