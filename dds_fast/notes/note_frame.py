"""Notes as tables of others: a pandas DataFrame, and what mir_eval scores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from dds_fast.notes.found import Note
from dds_fast.notes.names import parts

if TYPE_CHECKING:
    import pandas


def to_frame(notes: Iterable[Note]) -> pandas.DataFrame:
    """Notes as a DataFrame, a row each: start and end in seconds, source, pitch, velocity.

    ``pitch`` is the MIDI number, missing for drums.

    Raises:
        ImportError: pandas is not installed.

    Example:
        >>> to_frame([Note(0.5, 1.0, source=60, velocity=100)])  # doctest: +SKIP
           start  end  source  velocity  pitch
        0    0.5  1.0      60       100     60
    """
    try:
        import pandas
    except ImportError:
        raise ImportError("to_frame() needs pandas: pip install pandas") from None
    rows = [asdict(note) | {"pitch": parts(note.source)[1]} for note in notes]
    kinds: dict[str, Any] = {
        "start": float,
        "end": float,
        "source": object,
        "velocity": int,
        "pitch": "Int64",
    }
    return pandas.DataFrame(rows, columns=list(kinds)).astype(kinds)


def to_mir_eval(notes: Iterable[Note]) -> tuple[np.ndarray, np.ndarray]:
    """Notes as ``mir_eval.transcription`` takes them, those without a pitch left out.

    Returns:
        Intervals ``(n, 2)`` in seconds, and pitches ``(n,)`` in Hz.

    Example:
        >>> to_mir_eval([Note(0.5, 1.0, source=69, velocity=100), Note(0.7, 0.8, "kick", 90)])
        (array([[0.5, 1. ]]), array([440.]))
    """
    pitched = [(note, pitch) for note in notes if (pitch := parts(note.source)[1]) is not None]
    intervals = np.array([(note.start, note.end) for note, _ in pitched], dtype=float)
    numbers = np.array([pitch for _, pitch in pitched], dtype=float)
    return intervals.reshape(-1, 2), 440.0 * 2.0 ** ((numbers - 69) / 12)
