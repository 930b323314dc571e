"""The drawing and the map for contributors are those of the layers that are checked."""

from __future__ import annotations

import re

import architecture


def test_drawing_is_that_of_the_layers() -> None:
    again = "stale: run python tests/architecture.py"
    assert architecture.DRAWING.read_text() == architecture.draw(), again


def test_drawing_holds_every_room_once() -> None:
    rooms = re.findall(r"<text x=[^>]*>([\w/]+)</text>", architecture.draw())
    expected = [
        room
        for container in ("dds_fast", "dds_fast.search")
        for row in architecture.layers(container)
        for room in row
    ]
    assert sorted({*rooms} - {*architecture.COMPILED.values()}) == sorted({*expected})


def test_the_contributors_map_goes_down_the_layers() -> None:
    text = (architecture.ROOT / "CONTRIBUTING.md").read_text()
    shown = text.split("## How the house is built")[1].split("csrc/cpu/")[0]
    named = [
        room
        for line in re.findall(r"^    (\S.*?)(?:  |$)", shown, re.MULTILINE)
        for room in re.findall(r"\w+", line)
    ]
    rows = architecture.layers("dds_fast")
    level = {room: i for i, row in enumerate(rows) for room in row if not room.startswith("_")}
    assert sorted(named) == sorted(level)
    assert [level[room] for room in named] == sorted(level.values())
