"""Folders of isolated notes: one file per note, the note in the file name.

Names hold a MIDI number (``60.wav``, ``060_mf.flac``, ``piano M60.wav``) or a note name
(``C4.wav``, ``Fs3_v2.ogg``, ``Piano.pp.Bb2.aiff``; C4 is 60). One sub-folder per instrument is
usual; sub-folders are searched. An ``index.csv`` beside files ``<midi>_<layer>``, with the columns
``midi,layer,source``, tells which of them come from the same recording, so that training and
validation can be split by recording; ``source_midi`` says which note of a source that holds many.
"""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dds_fast.files import writing

logger = logging.getLogger("dds_fast")

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff")
INDEX = "index.csv"
_FIRST_NUMBER = re.compile(r"^(\d{1,3})(?=$|[^0-9a-zA-Z])")
_FIRST_NAME = re.compile(r"^([A-Ga-g])(s|#|b|)(-?\d)(?=$|[^0-9])")
_NAME = re.compile(r"(?<![0-9A-Za-z])([A-G])(s|#|b|)(-?\d)(?=$|[^0-9])")
_NUMBER = re.compile(r"(?<![0-9A-Za-z])M?(\d{1,3})(?![0-9A-Za-z])")
_PITCH_CLASS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_KEYBOARD = range(21, 109)


@dataclass(frozen=True)
class Recording:
    """One file with one isolated note.

    Attributes:
        path: the audio file.
        pitch: MIDI number.
        origin: identifies the physical recording; resampled copies share it.

    Example:
        >>> Recording(Path("piano/60_mf.flac"), pitch=60, origin="piano/60_mf").path.stem
        '60_mf'
    """

    path: Path
    pitch: int
    origin: str


def pitch_of(stem: str) -> int | None:
    """MIDI number that a file stem names, or None where it names none, or several.

    A number or note name at the beginning counts, whatever follows. Elsewhere it must be the only
    note name, or else the only number of the stem, and that a key of the piano.

    Example:
        >>> pitch_of("60_v1"), pitch_of("Fs3-pp"), pitch_of("Piano.ff.C4"), pitch_of("piano")
        (60, 54, 60, None)
    """
    if match := _FIRST_NUMBER.match(stem):
        pitch = int(match[1])
    elif match := _FIRST_NAME.match(stem) or _only(_NAME, stem):
        accidental = {"": 0, "s": 1, "#": 1, "b": -1}[match[2]]
        pitch = 12 * (int(match[3]) + 1) + _PITCH_CLASS[match[1].lower()] + accidental
    elif match := _only(_NUMBER, stem):
        pitch = int(match[1])
        return pitch if pitch in _KEYBOARD else None
    else:
        return None
    return pitch if 0 <= pitch <= 127 else None


def _only(pattern: re.Pattern[str], stem: str) -> re.Match[str] | None:
    matches = list(pattern.finditer(stem))
    return matches[0] if len(matches) == 1 else None


def find_notes(
    folders: str | Path | Iterable[str | Path], pitches: Iterable[int] | None = None
) -> list[Recording]:
    """Recordings of isolated notes below one or several folders, sorted by pitch and path.

    One warning names the files that name no note, and the notes of an ``index.csv`` that have no
    file; the rest goes on.

    Raises:
        FileNotFoundError: a folder does not exist.
        ValueError: no file below the folders names a (wanted) note, or an index lacks a column.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("C4.wav", "Fs3_v2.ogg", "061_mf.flac"):
        ...         (Path(folder) / name).touch()
        ...     [(note.pitch, note.path.name) for note in find_notes(folder)]
        [(54, 'Fs3_v2.ogg'), (60, 'C4.wav'), (61, '061_mf.flac')]
    """
    recordings, problems = search(folders, pitches)
    report(problems)
    return recordings


def report(problems: Sequence[str]) -> None:
    """One warning that names all problems of a data set."""
    if problems:
        logger.warning("%d problems with the notes:\n%s", len(problems), "\n".join(problems))


def search(
    folders: str | Path | Iterable[str | Path], pitches: Iterable[int] | None
) -> tuple[list[Recording], list[str]]:
    """What `find_notes` finds, and its problems, one line each."""
    searched = [Path(f) for f in ([folders] if isinstance(folders, str | Path) else folders)]
    wanted = None if pitches is None else set(pitches)
    recordings: list[Recording] = []
    problems: list[str] = []
    for folder in searched:
        if not folder.is_dir():
            raise FileNotFoundError(f"no such folder of notes: {folder}")
        everything = sorted(folder.rglob("*"))
        indices = {path.parent: _read_index(path) for path in everything if path.name == INDEX}
        found: dict[Path, set[int]] = {path: set() for path in indices}
        for path in everything:
            if path.suffix.lower() not in AUDIO_SUFFIXES or path.name.startswith("."):
                continue
            pitch = pitch_of(path.stem)
            if pitch is None:
                problems.append(f"{path}: its name holds no note, or several; skipped")
                continue
            found.setdefault(path.parent, set()).add(pitch)
            if wanted is None or pitch in wanted:
                key = (pitch, path.stem.partition("_")[2])
                origin = indices.get(path.parent, {}).get(key, f"{path.parent}/{path.stem}")
                recordings.append(Recording(path, pitch, origin))
        for parent, index in indices.items():
            missing = sorted({pitch for pitch, _ in index} - found[parent])
            problems += [
                f"{parent / INDEX}: note {pitch} has no file"
                for pitch in missing
                if wanted is None or pitch in wanted
            ]
    if not recordings:
        raise ValueError(
            f"no isolated notes found in {', '.join(map(str, searched))}: file names must hold "
            "a MIDI number (60_x.wav) or a note name (C4.wav)"
        )
    return sorted(recordings, key=lambda r: (r.pitch, str(r.path))), problems


def _read_index(path: Path) -> dict[tuple[int, str], str]:
    """Origin by note and layer."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        missing = {"midi", "layer", "source"} - set(rows.fieldnames or ())
        if missing:
            raise ValueError(f"{path} lacks the columns {', '.join(sorted(missing))}")
        origins = {}
        for row in rows:
            try:
                key = int(row["midi"]), row["layer"] or ""
            except (TypeError, ValueError):
                raise ValueError(
                    f"{path}, line {rows.line_num}: midi is no number: {row['midi']!r}"
                ) from None
            origins[key] = _origin(row["source"], row.get("source_midi"))
    return origins


@dataclass(frozen=True, eq=False)
class Note:
    """The sound of one isolated note.

    Attributes:
        pitch: MIDI number.
        layer: tells the notes of one pitch apart ("mf", "v64").
        source: where the sound is from; notes of equal source and pitch are one recording.
        waveform: ``(n,)`` floats in [-1, 1].
        sr: its sampling rate in Hz.

    Example:
        >>> note = Note(60, "mf", "my piano", np.zeros(16000, np.float32), sr=16000)
        >>> note.origin
        'my piano, note 60'
    """

    pitch: int
    layer: str
    source: str
    waveform: np.ndarray
    sr: int

    @property
    def origin(self) -> str:
        """See `Recording`."""
        return _origin(self.source, str(self.pitch))


def _origin(source: str, note: str | None) -> str:
    """A SoundFont, say, is one source with the recordings of all notes."""
    return f"{source}, note {note}" if note else source


def write_notes(folder: str | Path, notes: Iterable[Note], *, overwrite: bool = False) -> Path:
    """Write ``<pitch>_<layer>.flac`` (16 bit) and ``index.csv``, as `find_notes` reads them.

    Args:
        folder: of one instrument.
        notes: taken one after the other, so that a generator needs no memory.
        overwrite: replace what is there.

    Returns:
        The folder.

    Raises:
        FileExistsError: the folder already has an index, or a file of that name.

    Example:
        >>> import tempfile
        >>> note = Note(60, "mf", "my piano", np.zeros(16000, np.float32), sr=16000)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     written = write_notes(f"{folder}/piano", [note])
        ...     sorted(path.name for path in written.iterdir())
        ['60_mf.flac', 'index.csv']
    """
    import soundfile

    folder = Path(folder)
    with writing(folder / INDEX, overwrite) as index:
        rows = [("midi", "layer", "source", "source_midi", "seconds")]
        for note in notes:
            with writing(folder / f"{note.pitch}_{note.layer}.flac", overwrite) as path:
                soundfile.write(path, note.waveform, note.sr)
            pitch, seconds = str(note.pitch), f"{len(note.waveform) / note.sr:.3f}"
            rows.append((pitch, note.layer, note.source, pitch, seconds))
        with index.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
    return folder
