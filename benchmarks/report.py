"""What all reports are made of: Markdown tables, and figures that stay small."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from PIL import Image

PNG_DPI, PNG_COLOURS = 80, 128


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def save(figure: Figure | None, path: Path) -> None:
    """Write a figure; nothing where there is none.

    An SVG's text stays text, its coordinates are rounded, and each style is written once; a PNG has
    few colours. Both are a third as large, and no difference is to be seen.
    """
    if figure is None:
        return
    drawn = io.BytesIO()
    if path.suffix == ".png":
        figure.savefig(drawn, format="png", dpi=PNG_DPI)
        Image.open(drawn).convert("RGB").quantize(PNG_COLOURS).save(path, optimize=True)
        return
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dds_fast"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    path.write_text(_smaller(drawn.getvalue().decode()), encoding="utf-8")


def _smaller(svg: str) -> str:
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"(\d+\.\d{2})\d+", r"\1", svg)
    svg = re.sub(r"\s*\n\s*", "\n", svg)
    svg = re.sub(r' id="(?:axes|legend|line2d|text|[xy]tick|patch|matplotlib)[^"]*"', "", svg)
    groups = 1
    while groups:
        svg, groups = re.subn(r"<g>\n((?:(?!</?g\b).)*?)</g>\n", r"\1", svg, flags=re.DOTALL)
    for number, name in enumerate(dict.fromkeys(re.findall(r'id="([mp][0-9a-f]{10})"', svg))):
        svg = svg.replace(name, f"i{number}")
    styles = list(dict.fromkeys(re.findall(r'style="([^"]*)"', svg)))
    for number, style in enumerate(styles):
        svg = svg.replace(f'style="{style}"', f'class="c{number}"')
    sheet = "".join(f".c{number}{{{style}}}" for number, style in enumerate(styles))
    return svg.replace("</style>", f"{sheet}</style>", 1)
