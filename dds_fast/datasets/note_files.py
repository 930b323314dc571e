"""Folders of isolated notes: one file per take, its source in the name of the file or folder.

Sources are keys, names ("kick" of ``kick_01.wav`` and ``kick_02.wav``), folders, or the keys of
each folder ("guitar/60"). Keys are told by a note name (``C4.wav``, ``01 C#4.wav``,
``Fs3_v2.ogg``, ``Piano.pp.Bb2.aiff``; C4 is 60) or the MIDI number of a key of the piano, 21 to 108
(``60.wav``, ``060_mf.flac``, ``piano M60.wav``, NSynth's ``guitar_000-060-100.wav``). One
sub-folder per instrument is usual; sub-folders are searched, links followed, and what begins with a
dot left out. An ``index.csv`` beside files ``<midi>_<layer>``, with the columns
``midi,layer,source``, tells which of them come from the same recording, so that training and
validation can be split by recording; ``source_midi`` says which note of a source that holds many.
"""

from __future__ import annotations

import csv
import logging
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dds_fast.choices import AUDIO_SUFFIXES, SOURCES
from dds_fast.files import writing
from dds_fast.notes.general_midi import drum_note
from dds_fast.notes.names import check_case, in_order, of_key, parts

logger = logging.getLogger("dds_fast")

UNREAD_SUFFIXES = (
    *(".m4a", ".m4b", ".mp4", ".aac", ".wma", ".alac", ".ape", ".wv", ".tta", ".tak", ".mpc"),
    *(".ac3", ".dts", ".amr", ".3gp", ".ra", ".mka", ".webm", ".dsf", ".dff", ".raw", ".pcm"),
    *(".gsm", ".vox", ".spx"),
)
"""Of sound that libsndfile does not read, or not without being told its rate."""

INDEX = "index.csv"
_FIRST_NUMBER = re.compile(r"^(\d{1,3})(?=$|[^0-9a-zA-Z])")
_NOTE = r"(s|[#♯]|[b♭]|)(-?\d)([#♯](?!\d)|♭|)(?=$|[^0-9])"
_FIRST_NAME = re.compile(rf"^([A-Ga-g]){_NOTE}")
_NAME = re.compile(rf"(?<![0-9A-Za-z])([A-G]){_NOTE}")
_ACCIDENTAL = {"s": 1, "#": 1, "♯": 1, "b": -1, "♭": -1, "": 0}
_NUMBER = re.compile(r"(?<![0-9A-Za-z])M?(\d{1,3})(?![0-9A-Za-z])")
_NSYNTH = re.compile(r"[_-](\d{3})-(\d{3})$")
_PITCH_CLASS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_KEYBOARD = range(21, 109)
_MOST_PROBLEMS = 10
_PLACE = re.compile(r"^\d+(?:[\s_.-]+|$)")
_TAKE = re.compile(
    r"(?:^|[\s_.-]+)\(?(?:(?:take|hit|velocity|vel|layer|round|rr|no|v|#)?[\s_.-]*\d+"
    r"|p{1,3}|mp|mf|f{1,3})\)?$",
    re.IGNORECASE,
)
_KEY = re.compile(rf"(?:^|[\s_.-]+)[A-G]{_NOTE}$")


@dataclass(frozen=True)
class Recording:
    """One file with one isolated sound of a source.

    Attributes:
        path: the audio file.
        source: MIDI number, or a name.
        origin: identifies the physical recording; resampled copies share it.

    Example:
        >>> Recording(Path("piano/60_mf.flac"), source=60, origin="piano/60_mf").pitch
        60
    """

    path: Path
    source: int | str
    origin: str

    @property
    def pitch(self) -> int | None:
        """MIDI number of the source, None if it has none."""
        return parts(self.source)[1]


def pitch_of(stem: str) -> int | None:
    """MIDI number that a file stem names, or None where it names none, or several.

    A note name at the beginning counts, whatever follows, then the only one elsewhere: a number
    before it is a place in a list. Without a name it is the number at the beginning, the pitch
    of NSynth's names, or else the only number of the stem, if that is a key of the piano.

    Example:
        >>> pitch_of("60_v1"), pitch_of("Fs3-pp"), pitch_of("01 C♯4"), pitch_of("piano")
        (60, 54, 61, None)
    """
    pitch = _named(stem)
    return _numbered(stem) if pitch is None else pitch


def _named(stem: str) -> int | None:
    """The pitch of a note name."""
    match = _FIRST_NAME.match(stem) or _only(_NAME, stem)
    if match is None:
        return None
    accidental = _ACCIDENTAL[match[2] or match[4]]
    pitch = 12 * (int(match[3]) + 1) + _PITCH_CLASS[match[1].lower()] + accidental
    return pitch if 0 <= pitch <= 127 else None


def _numbered(stem: str) -> int | None:
    """The pitch that is a number."""
    if match := _FIRST_NUMBER.match(stem):
        pitch = int(match[1])
        return pitch if pitch <= 127 else None
    if (match := _NSYNTH.search(stem)) and max(map(int, match.groups())) <= 127:
        return int(match[1])
    match = _only(_NUMBER, stem)
    return int(match[1]) if match and int(match[1]) in _KEYBOARD else None


def _only(pattern: re.Pattern[str], stem: str) -> re.Match[str] | None:
    matches = list(pattern.finditer(stem))
    return matches[0] if len(matches) == 1 else None


def name_of(stem: str) -> str | None:
    """Name of the source that a file stem tells, or None where it holds nothing but numbers.

    What only tells takes apart is left out: a number in front, and behind it numbers, dynamics and
    a note that stand apart from the name. "tom1" and "tom2" are two names.

    Example:
        >>> [name_of(stem) for stem in ("kick_01", "03 Snare v100 (2)", "guitar_C4_mf", "tom1")]
        ['kick', 'Snare', 'guitar', 'tom1']
    """
    stem = unicodedata.normalize("NFC", stem)
    name = _PLACE.sub("", stem).strip(" _.-")
    while (shorter := _KEY.sub("", _TAKE.sub("", name)).strip(" _.-")) != name:
        name = shorter
    return name or None


def find_notes(
    folders: str | Path | Iterable[str | Path],
    pitches: Iterable[int] | None = None,
    sources: str | None = "key",
) -> list[Recording]:
    """Recordings of isolated notes below one or several folders, sorted by source and path.

    One warning names the files that name no source or are of a format that is not read, and the
    notes of an ``index.csv`` that have no file; the rest goes on.

    Args:
        folders: searched with all that is below.
        pitches: the MIDI numbers wanted; all by default.
        sources: "key" (the pitch that a file's name tells), "name" (see `name_of`), "folder" (the
            one that a file lies in), "folder/key", or None for what `told_by` says.

    Raises:
        FileNotFoundError: a folder does not exist.
        ValueError: no file below the folders names a (wanted) source; names that differ by case
            alone; an index lacks a column; an unknown `sources`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("C4.wav", "Fs3_v2.ogg", "061_mf.flac"):
        ...         (Path(folder) / name).touch()
        ...     [(note.pitch, note.path.name) for note in find_notes(folder)]
        [(54, 'Fs3_v2.ogg'), (60, 'C4.wav'), (61, '061_mf.flac')]
    """
    recordings, problems, _ = search(folders, pitches, sources)
    report(problems)
    return recordings


def told_by(stems: Sequence[str]) -> str:
    """What tells the sources of files where nothing is asked for.

    "key", unless at most half of the names hold a note, or more than half name a drum: then "name".

    Example:
        >>> told_by(["60", "61", "noise"]), told_by(["kick_01", "snare_01"]), told_by(["tom_36"])
        ('key', 'name', 'name')
    """
    n_notes = sum(pitch_of(stem) is not None for stem in stems)
    n_drums = sum(drum_note(stem) is not None for stem in stems)
    return "name" if 2 * n_notes <= len(stems) or 2 * n_drums > len(stems) else "key"


def report(problems: Sequence[str]) -> None:
    """One warning that names all problems of a data set."""
    if problems:
        logger.warning("%d problems with the notes:\n%s", len(problems), "\n".join(problems))


def search(
    folders: str | Path | Iterable[str | Path],
    pitches: Iterable[int] | None,
    sources: str | None,
) -> tuple[list[Recording], list[str], str]:
    """What `find_notes` finds, its problems, one line each, and what tells the sources."""
    searched = [Path(f) for f in ([folders] if isinstance(folders, str | Path) else folders)]
    if sources is not None and sources not in SOURCES:
        raise ValueError(f"sources must be one of {SOURCES}, not {sources!r}")
    problems: list[str] = []
    everything: list[Path] = []
    for folder in searched:
        if not folder.is_dir():
            raise FileNotFoundError(f"no such folder of notes: {folder}")
        everything += _files(folder, problems)
    problems += [
        f"{path}: {path.suffix} files are not read, WAV or FLAC is; skipped"
        for path in everything
        if path.suffix.lower() in UNREAD_SUFFIXES
    ]
    audible = [path for path in everything if path.suffix.lower() in AUDIO_SUFFIXES]
    sources = sources or told_by([path.stem for path in audible])
    if "key" in sources:
        indices = [path for path in everything if path.name == INDEX]
        recordings = _of_keys(audible, indices, pitches, problems, by_folder=sources != "key")
    else:
        recordings = _of_names(audible, problems, by_folder=sources == "folder")
    if not recordings:
        expected = (
            "a MIDI number (60_x.wav) or a note name (C4.wav)" if "key" in sources else "a name"
        )
        raise ValueError(
            f"no isolated notes found in {', '.join(map(str, searched))}: file names must hold "
            f"{expected}" + "".join(f"\n{problem}" for problem in problems[:_MOST_PROBLEMS])
        )
    found = in_order(recording.source for recording in recordings)
    check_case(found)
    recordings.sort(key=lambda recording: (found.index(recording.source), str(recording.path)))
    return recordings, problems, sources


def _of_keys(
    paths: Sequence[Path],
    indices: Sequence[Path],
    pitches: Iterable[int] | None,
    problems: list[str],
    *,
    by_folder: bool,
) -> list[Recording]:
    """Recordings of the pitches in the files' names, for each folder apart if asked."""
    wanted = None if pitches is None else set(pitches)
    recordings: list[Recording] = []
    indexed = {path.parent: _read_index(path, problems) for path in indices}
    found: dict[Path, set[int]] = {folder: set() for folder in indexed}
    for path in paths:
        index = indexed.get(path.parent, {})
        layer = path.stem.partition("_")[2]
        number, name = _numbered(path.stem), _named(path.stem)
        in_index = number is not None and (number, layer) in index
        pitch = number if in_index or name is None else name
        if pitch is None:
            problems.append(f"{path}: its name holds no note, or several; skipped")
            continue
        if pitch == number and not in_index and pitch not in _KEYBOARD:
            problems.append(f"{path}: {pitch} is no key of a piano, 21 to 108; skipped")
            continue
        found.setdefault(path.parent, set()).add(pitch)
        if wanted is None or pitch in wanted:
            origin = index.get((pitch, layer), f"{path.parent}/{path.stem}")
            source = of_key(_folder_name(path), pitch) if by_folder else pitch
            recordings.append(Recording(path, source, origin))
    for parent, index in indexed.items():
        missing = sorted({pitch for pitch, _ in index} - found[parent])
        problems += [
            f"{parent / INDEX}: note {pitch} has no file"
            for pitch in missing
            if wanted is None or pitch in wanted
        ]
    return recordings


def _of_names(paths: Sequence[Path], problems: list[str], *, by_folder: bool) -> list[Recording]:
    recordings = []
    for path in paths:
        name = _folder_name(path) if by_folder else name_of(path.stem)
        if name is None or not name.isprintable():
            problems.append(f"{path}: no name can be made of its name; skipped")
        else:
            recordings.append(Recording(path, name, str(path.with_suffix(""))))
    return recordings


def _folder_name(path: Path) -> str:
    """Of the folder that a file lies in."""
    return unicodedata.normalize("NFC", path.parent.resolve().name)


def _files(folder: Path, problems: list[str]) -> list[Path]:
    """All files below but those that begin with a dot; links are followed, no folder twice."""

    def unread(error: OSError) -> None:
        problems.append(f"{error.filename}: {error.strerror}; skipped")

    files, seen = [], set()
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=unread):
        if (place := os.path.realpath(parent)) in seen:
            folders.clear()
            continue
        seen.add(place)
        folders[:] = [name for name in folders if not name.startswith(".")]
        folders.sort(key=lambda name: (os.path.islink(os.path.join(parent, name)), name))
        files += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(files)


def _read_index(path: Path, problems: list[str]) -> dict[tuple[int, str], str]:
    """Origin by note and layer."""
    try:
        rows = csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines())
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error}") from error
    names = set(rows.fieldnames or ())
    if not names & {"midi", "pitch", "note", "layer", "source"}:
        problems.append(f"{path}: an index of something else than notes; ignored")
        return {}
    if missing := {"midi", "layer", "source"} - names:
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
