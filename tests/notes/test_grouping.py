"""Groups of notes and of sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dds_fast.datasets import Labels
from dds_fast.notes import grouping

NOTES = Labels(
    np.array([[1.0, 2.0], [0.0, 1.0], [0.5, 1.0]]),
    np.array([60, 59, 72]),
    np.array([64.0, 65.0, 66.0]),
    np.array(["upper", "lower", "upper"]),
)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("hand", {"right": [60, 72], "left": [59]}),
        ("pitch", {"B3": [59], "C4": [60], "C5": [72]}),
        ("track", {"upper": [60, 72], "lower": [59]}),
        ("note", {"001_B3": [59], "002_C5": [72], "003_C4": [60]}),
    ],
)
def test_notes(by: str, expected: dict[str, list[int]]) -> None:
    groups = grouping.of_notes(NOTES, by)
    assert {name: group.pitches.tolist() for name, group in groups.items()} == expected
    assert list(groups) == list(expected)


def test_hands_are_split_where_asked() -> None:
    assert grouping.of_notes(NOTES, "hand", split=61)["left"].pitches.tolist() == [60, 59]
    assert grouping.of_sources((59, 60, 61), "hand", split=61) == {"left": [59, 60], "right": [61]}


def test_sources_by_pitch() -> None:
    assert grouping.of_sources((60, "kick"), "pitch") == {"C4": [60], "kick": ["kick"]}


def test_groups_of_every_notation() -> None:
    sources = (48, 60, 61, 72, "kick", "snare")
    groups = {"a": "C2-B3", "b": ["60", 61], "c": [range(70, 75)[2], "kick"], "d": "snare"}
    assert grouping.chosen(groups, sources) == {
        "a": [48],
        "b": [60, 61],
        "c": [72, "kick"],
        "d": ["snare"],
    }
    assert grouping.chosen({"a": ["B♭3-C#4", "Db4"]}, sources) == {"a": [60, 61]}
    for wrong in ("72-60", "H4", "Kick", True, None, 3.5):
        with pytest.raises(ValueError, match="no source|must be pitches"):
            grouping.chosen({"a": wrong if wrong is None else [wrong]}, sources)


def test_groups_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "groups.JSON"
    path.write_text('{"left, or so": ["36-59"]}')
    assert grouping.parse(str(path)) == {"left, or so": ["36-59"]}
    for text, message in [
        ("[1]", "an object of lists"),
        ("{", "holds no groups"),
        ('{"a": 1, "a": 2}', "'a' is there twice"),
    ]:
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            grouping.parse(str(path))


def test_bad_requests() -> None:
    plain = Labels(NOTES.intervals, NOTES.pitches, NOTES.velocities)
    with pytest.raises(ValueError, match="names no tracks"):
        grouping.of_notes(plain, "track")
    with pytest.raises(ValueError, match="no notes"):
        grouping.of_notes(plain.select(np.zeros(3, bool)), "hand")
    with pytest.raises(ValueError, match="not 'voice'"):
        grouping.of_notes(plain, "voice")
    with pytest.raises(ValueError, match="stems by track need a score"):
        grouping.of_sources((60,), "track")
    with pytest.raises(ValueError, match="MIDI numbers"):
        grouping.of_sources(("kick",), "hand")
