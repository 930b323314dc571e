"""What is listened to: a page of stems, one HTML file that needs no network; and single sounds.

`page.html` is its frame, `page.css` its style and `page.js` its script; what they show is JSON.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from dds_fast.page.sound import Sound, encoded

if TYPE_CHECKING:
    from dds_fast.notes.found import Note
    from dds_fast.notes.score import Labels

__all__ = ["Sound", "frame", "is_page", "page"]

GENERATOR = b'<meta name="generator" content="dds-fast separate">'
"""By which pages are known."""

_FOLDER = Path(__file__).parent


def page(
    title: str,
    names: Sequence[int | str],
    stems: np.ndarray,
    sr: float,
    *,
    notes: Iterable[tuple[Any, Note]] = (),
    score: Labels | None = None,
) -> str:
    """The page as text.

    Args:
        title: its heading.
        names: S names of the stems.
        stems: ``(S, n)`` or ``(S, channels, n)`` waveforms.
        sr: their sampling rate in Hz.
        notes: notes found, with the name of the stem of each.
        score: notes that were played, outlined.

    Example:
        >>> text = page("<two> tones", ("a", "</script>"), np.zeros((2, 8000)), 8000)
        >>> "&lt;two&gt; tones" in text, text.count("</script>") == text.count("<script")
        (True, True)
    """
    notes = list(notes)
    lanes = _lanes({note.source for _, note in notes}, score)
    row = {source: index for index, source in enumerate(lanes)}
    stem = {name: index for index, name in enumerate(names)}
    peak = max(1.0, float(np.abs(stems).max(initial=0)))
    shown = {
        "seconds": stems.shape[-1] / sr,
        "gain": peak,
        "lanes": [_lane(source) for source in lanes],
        "notes": [
            [round(n.start, 3), round(n.end, 3), row[n.source], stem[name], n.velocity]
            for name, n in notes
        ],
        "score": [
            [round(onset, 3), round(offset, 3), row[pitch]]
            for (onset, offset), pitch in _score_rows(score)
            if pitch in row
        ],
        "stems": [
            {"name": str(name), "audio": audio}
            for name, audio in zip(names, encoded(stems / peak, sr), strict=True)
        ],
    }
    parts = {name: (_FOLDER / f"page.{name}").read_text("utf-8") for name in ("html", "css", "js")}
    return Template(parts["html"]).substitute(
        title=html.escape(title), style=parts["css"], script=parts["js"], data=_json(shown)
    )


def frame(page: str, height: int = 640) -> str:
    """A page within another, as notebooks show it.

    Example:
        >>> frame('<p class="x">').split(" ")[-1]
        'class=&quot;x&quot;&gt;"></iframe>'
    """
    return (
        f'<iframe title="stems" style="width:100%;height:{height}px;border:0" '
        f'srcdoc="{html.escape(page)}"></iframe>'
    )


def is_page(path: Path) -> bool:
    """Whether a file is a page of this program.

    Example:
        >>> is_page(Path("notes.csv"))
        False
    """
    return path.suffix == ".html" and GENERATOR in path.read_bytes()[:1000]


def _json(values: Any) -> str:
    """JSON that may stand within a script element, whatever its strings hold."""
    text = json.dumps(values, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _score_rows(score: Labels | None) -> list[tuple[tuple[float, float], int]]:
    if score is None:
        return []
    return list(zip(score.intervals.tolist(), score.pitches.tolist(), strict=True))


def _lanes(sources: set[int | str], score: Labels | None) -> list[int | str]:
    """Sources from the lowest lane up: all keys between those in use, then names."""
    pitches = {source for source in sources if isinstance(source, int)}
    pitches |= {pitch for _, pitch in _score_rows(score)}
    keys = range(max(0, min(pitches) - 1), max(pitches) + 2) if pitches else ()
    return [*keys, *sorted((s for s in sources if isinstance(s, str)), reverse=True)]


def _lane(source: int | str) -> dict[str, Any]:
    from dds_fast.notes.names import note_name

    if isinstance(source, int):
        return {"name": note_name(source), "black": "♯" in note_name(source)}
    return {"name": source, "black": None}
