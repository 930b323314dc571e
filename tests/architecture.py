"""Draws the rooms of the package as import-linter keeps them: python tests/architecture.py

What is drawn are the layers of pyproject.toml, so the drawing cannot say what is not checked.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
DRAWING = ROOT / "docs" / "architecture.svg"

ROW, GAP, LETTER, LEFT, TOP = 30, 12, 8.2, 300, 50
COMPILED = {"cpu": "csrc/cpu", "gpu": "csrc/cuda"}
STYLE = """
  text { font: 14px sans-serif; fill: #1d2b36; text-anchor: middle }
  .note { font-size: 12.5px; fill: #5c6b76 } .name { font-weight: bold }
  rect { fill: #e8f0f7; stroke: #7f9db8; rx: 5 }
  .heart rect { fill: #fdf0dc; stroke: #d09a3c } .native rect { fill: #efe7f5; stroke: #9a7fb8 }
  .paper { fill: #fff; stroke: none }
  path { fill: none; stroke: #7f9db8; stroke-width: 1.5 } .heart path { stroke: #d09a3c }
"""


def layers(container: str) -> list[list[str]]:
    """The rooms of a package from above to below; those of a row know nothing of one another."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (rows,) = (
        contract["layers"]
        for contract in settings["contracts"]
        if contract["type"] == "layers" and contract["containers"] == [container]
    )
    return [re.findall(r"\w+", row) for row in rows]


def _box(x: float, y: float, name: str) -> str:
    width = LETTER * len(name) + 18
    return (
        f'<rect x="{x - width / 2:.1f}" y="{y - ROW / 2}" width="{width:.1f}" height="{ROW}"/>'
        f'<text x="{x:.1f}" y="{y + 5}">{name}</text>'
    )


def _tower(rows: list[list[str]], x: float, top: float) -> Iterator[tuple[str, float, float]]:
    """Each room, and where its middle lies."""
    for i, row in enumerate(rows):
        widths = [LETTER * len(name) + 18 + GAP for name in row]
        left = x - sum(widths) / 2
        for name, width in zip(row, widths, strict=True):
            yield name, left + width / 2, top + i * (ROW + GAP)
            left += width


def draw() -> str:
    """The drawing, as SVG."""
    rows, heart = layers("dds_fast"), layers("dds_fast.search")
    bottom = TOP + (len(rows) - 1) * (ROW + GAP)
    rooms = list(_tower(rows, LEFT, TOP))
    (_, search_x, search_y), *_ = (room for room in rooms if room[0] == "search")
    inner_x, inner_top = 780, search_y - (ROW + GAP) * (len(heart) - 1) / 2
    inner = list(_tower(heart, inner_x, inner_top))
    inner_left, inner_right = inner_x - 190, inner_x + 290
    parts = [f"<g>{''.join(_box(x, y, name) for name, x, y in rooms)}</g>"]
    parts.append(
        f'<g class="heart">{_box(search_x, search_y, "search")}'
        f'<path d="M {search_x + 34} {search_y} H {inner_left}"/>'
        f'<path d="M {inner_left} {inner_top - 30} V {inner[-1][2] + 30} '
        f'M {inner_left} {inner_top - 30} h 8 M {inner_left} {inner[-1][2] + 30} h 8"/>'
        f"{''.join(_box(x, y, name) for name, x, y in inner)}"
        f'<text class="note" x="{inner_x}" y="{inner_top - 40}">the heart: '
        "engines stand on the problem</text></g>"
    )
    for i, (name, module) in enumerate(COMPILED.items()):
        (x, y) = next((x, y) for room, x, y in inner if room == name)
        side = 2 * i - 1  # a line runs between two rows
        edge, native_y = y + side * ROW / 2, y + side * (ROW + GAP) / 2
        parts.append(
            f'<g class="native"><path d="M {x} {edge} V {native_y} H {inner_x + 180}"/>'
            f"{_box(inner_x + 230, native_y, module)}</g>"
        )
    parts.append(
        f'<path d="M 30 {TOP} V {bottom} m -6 -9 l 6 9 l 6 -9"/>'
        f'<text class="note" transform="translate(16 {(TOP + bottom) / 2}) rotate(-90)">'
        "a room imports from the rooms below it, never from one above</text>"
    )
    width, height = inner_right, bottom + 40
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" '
        f'aria-label="The rooms of dds_fast in layers">\n<style>{STYLE}</style>\n'
        f'<rect class="paper" width="{width}" height="{height}"/>\n'
        f'<text class="name" x="{LEFT}" y="18">dds_fast</text>\n' + "\n".join(parts) + "\n</svg>\n"
    )


if __name__ == "__main__":
    DRAWING.write_text(draw())
