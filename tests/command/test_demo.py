"""``dds-fast demo``: what it says; test_piano.py runs it."""

from __future__ import annotations

import pytest

from dds_fast.command.demo import compared


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({60, 64}, "Found C4, E4; nothing else."),
        ({60, 64, 67, 30}, "Found C4, E4; also found F♯1, G4, not played."),
        ({60}, "Found C4; missed E4; nothing else."),
        ({67}, "Found none of them; missed C4, E4; also found G4, not played."),
    ],
)
def test_what_was_found(found: set[int], expected: str) -> None:
    assert compared({60, 64}, found) == expected
