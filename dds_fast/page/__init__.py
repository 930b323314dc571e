"""A page to listen to stems: one HTML file that needs no network.

`page.html` is its frame, `page.css` its style and `page.js` its script; what they show is JSON.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from dds_fast.notes.found import Note
    from dds_fast.notes.score import Labels

FLAC_ROOM = 6_000_000
"""Bytes; stems that surely take less stay lossless."""

VORBIS_ROOM = 9_000_000
"""Bytes of all stems together, that is 12 MB of a page."""

VORBIS_LEVELS = {0.5: 84e3, 0.7: 57e3, 0.9: 43e3, 1.0: 35e3}
"""Bits per second that a channel of decaying noise takes, by libsndfile's level of compression."""

GENERATOR = b'<meta name="generator" content="dds-fast separate">'
"""By which pages are known."""

_FOLDER = Path(__file__).parent
_AT_ONCE = 1 << 16
"""Samples that are given to an encoder; libsndfile's Vorbis overflows the stack with many."""


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
            for name, audio in zip(names, _encoded(stems / peak, sr), strict=True)
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
    """Whether a file is a page of this program."""
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


def _encoded(stems: np.ndarray, sr: float) -> list[str]:
    """Each stem as a small file in base64: FLAC where that is small enough, else Vorbis."""
    import soundfile

    channels = stems[:, None] if stems.ndim == 2 else stems
    if 2 * channels.size < FLAC_ROOM or sr < 8000:
        kind: dict[str, Any] = {"format": "FLAC", "subtype": "PCM_16"}
    else:
        seconds = channels.size / sr
        fitting = (
            level for level, bits in VORBIS_LEVELS.items() if bits / 8 * seconds < VORBIS_ROOM
        )
        level = next(fitting, max(VORBIS_LEVELS))
        kind = {"format": "OGG", "subtype": "VORBIS", "compression_level": level}
    texts = []
    for stem in channels:
        memory = io.BytesIO()
        with soundfile.SoundFile(memory, "w", round(sr), len(stem), **kind) as file:
            for first in range(0, stem.shape[1], _AT_ONCE):
                file.write(stem[:, first : first + _AT_ONCE].T)
        texts.append(base64.b64encode(memory.getvalue()).decode())
    return texts
