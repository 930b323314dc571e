"""Notes in files of any format, which the suffix tells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dds_fast.choices import NOTE_FORMATS
from dds_fast.files import writing
from dds_fast.notes.found import Note, write_midi, write_notes
from dds_fast.notes.general_midi import Numbers
from dds_fast.notes.note_audacity import write_audacity
from dds_fast.notes.note_jams import write_jams
from dds_fast.notes.note_layer import write_layer
from dds_fast.notes.sonification import PEAK, sonify

SR = 44100
"""In Hz, where that of the recording is not known."""


@dataclass(frozen=True)
class About:
    """What formats tell of the recording beside its notes.

    Attributes:
        duration: in seconds.
        sr: sampling rate in Hz.
        read: gives its samples ``(n,)``, the channels averaged; None if they are not known.
    """

    duration: float
    sr: float
    read: Callable[[], np.ndarray] | None = None


def write(
    path: Path, notes: Sequence[Note], midi: Numbers, about: About, *, overwrite: bool, **told: Any
) -> None:
    """Write notes as CSV, MIDI, JAMS, Audacity's labels, Sonic Visualiser's layer or sound.

    Args:
        path: of the file.
        notes: of one recording.
        midi: notes of drums and programs of instruments.
        about: the recording.
        overwrite: replace an existing file.
        **told: `tempo` and `program`, as of `notes.found.to_midi`.

    Raises:
        FileExistsError: the file exists and `overwrite` is false.
        ValueError: another suffix.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in NOTE_FORMATS:
        known = ", ".join(f".{suffix} ({what})" for suffix, what in NOTE_FORMATS.items())
        raise ValueError(f"{path}: notes are written as {known}, which the suffix tells")
    if kind == "csv":
        write_notes(path, notes, overwrite=overwrite)
    elif kind == "mid":
        write_midi(path, notes, midi, overwrite=overwrite, **told)
    elif kind == "jams":
        write_jams(
            path, notes, duration=about.duration, title=path.parent.name, overwrite=overwrite
        )
    elif kind == "txt":
        write_audacity(path, notes, overwrite=overwrite)
    elif kind == "svl":
        write_layer(path, notes, midi, sr=about.sr, overwrite=overwrite)
    else:
        _write_sound(path, notes, about, overwrite)


def _write_sound(path: Path, notes: Sequence[Note], about: About, overwrite: bool) -> None:
    """The notes, on the right of the recording if that is known."""
    import soundfile

    sr = round(about.sr)
    wave = None if about.read is None else about.read()
    n_samples = round(about.duration * sr) if wave is None else len(wave)
    heard = sonify(notes, n_samples, sr)
    if wave is not None:
        level = PEAK / max(float(np.abs(wave).max(initial=0.0)), 1e-30)
        heard = np.stack([level * wave, heard], axis=1)
    with writing(path, overwrite) as temporary:
        soundfile.write(temporary, heard, sr, subtype="PCM_16")
