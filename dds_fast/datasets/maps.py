"""MAPS, the piano database of Emiya, Badeau and David, as distributed.

    maps = Maps("MAPS")
    notes = maps.frames(maps.isolated(), config)  # to learn from
    X, labels = maps.concatenated(maps.chords("ENSTDkCl", polyphony=2), config)  # to test on

It holds isolated notes (ISOL), random chords (RAND) and music (MUS) of nine pianos, each recording
a stereo 44.1 kHz WAV beside a MIDI and a text file. Only the folders asked for are listed, and only
the recordings asked for are read.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dds_fast import audio
from dds_fast.datasets.note_files import report
from dds_fast.datasets.notes import NoteFrames
from dds_fast.datasets.snippets import concatenate
from dds_fast.files import writing
from dds_fast.notes.score import Labels, load_labels
from dds_fast.progress import bar

logger = logging.getLogger("dds_fast")

SOFTWARE_PIANOS = (
    *("StbgTGd2", "AkPnBsdf", "AkPnBcht", "AkPnCGdD", "AkPnStgb", "SptkBGAm", "SptkBGCl"),
)
"""The Grand 2, four pianos of Akoustik Piano, two of The Black Grand: to learn from."""

DISKLAVIERS = ("ENSTDkAm", "ENSTDkCl")
"""A Yamaha Disklavier, ambient and close microphones: to test on."""

INSTRUMENTS = SOFTWARE_PIANOS + DISKLAVIERS

MODES = ("NO", "LG", "ST", "RE")
"""Of isolated notes: normal, long, staccato, repeated. The trills and scales that ISOL also holds
have more than one pitch."""

PITCHES = range(36, 96)
"""C2 to B6, 60 notes."""

_NAMES = {
    "ISOL": re.compile(
        r"MAPS_ISOL_(?P<mode>[A-Z]+[0-9.]*)_(?P<loudness>[PMF])(?:_S(?P<pedal>[01]))?"
        r"(?:_M(?P<pitch>\d+))?_(?P<instrument>[0-9A-Za-z]+)"
    ),
    "RAND": re.compile(
        r"MAPS_RAND_P(?P<polyphony>\d+)_M(?P<pitches>\d+-\d+)_I(?P<intensity>\d+-\d+)"
        r"_S(?P<pedal>[01])_n(?P<number>\d+)_(?P<instrument>[0-9A-Za-z]+)"
    ),
    "MUS": re.compile(r"MAPS_MUS-(?P<piece>.+)_(?P<instrument>[0-9A-Za-z]+)"),
}


CACHE_FORMAT = 1


def default_cache() -> Path:
    """Where the names in MAPS folders are kept between runs, in the user's cache."""
    return (
        Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "dds_fast" / "maps.json"
    )


@dataclass(frozen=True)
class MapsFile:
    """One recording, and what its name says; None where the subset has no such thing.

    Attributes:
        path: the WAV file; MIDI and text lie beside it.
        subset: "ISOL", "RAND" or "MUS".
        instrument: one of `INSTRUMENTS`.
        pedal: whether the sustain pedal is down.
        mode: how an isolated note is played, see `MODES`.
        loudness: of an isolated note, "P", "M" or "F".
        pitch: MIDI number of an isolated note.
        polyphony: notes of a chord.
        pitches: lowest and highest pitch of the chords, "36-95".
        intensity: lowest and highest velocity of the chords, "32-96".
        number: of a chord, from 1.
        piece: of music.
    """

    path: Path
    subset: str
    instrument: str
    pedal: bool | None = None
    mode: str | None = None
    loudness: str | None = None
    pitch: int | None = None
    polyphony: int | None = None
    pitches: str | None = None
    intensity: str | None = None
    number: int | None = None
    piece: str | None = None

    @classmethod
    def of(cls, path: str | Path) -> MapsFile | None:
        """What a file name says, None if it is no name of MAPS.

        Example:
            >>> MapsFile.of("MAPS_RAND_P2_M36-95_I32-96_S1_n12_ENSTDkCl.wav").intensity
            '32-96'
        """
        path = Path(path)
        for subset, pattern in _NAMES.items():
            if match := pattern.fullmatch(path.stem):
                fields: dict[str, Any] = match.groupdict()
                for name in ("pitch", "polyphony", "number"):
                    if fields.get(name) is not None:
                        fields[name] = int(fields[name])
                if fields.get("pedal") is not None:
                    fields["pedal"] = fields["pedal"] == "1"
                return cls(path, subset, **fields)
        return None

    def labels(self, pedal: bool = False) -> Labels:
        """The notes played.

        Args:
            pedal: a note ends where the sustain pedal is released; read from the MIDI file.

        Raises:
            FileNotFoundError: neither MIDI nor, without `pedal`, text lies beside the recording.
            ValueError: it cannot be read.
        """
        midi = self.path.with_suffix(".mid")
        if midi.is_file() or pedal:
            return load_labels(midi, pedal=pedal)
        return load_labels(self.path.with_suffix(".txt"))


class Maps:
    """A copy of MAPS, whole or in parts.

    Args:
        root: the folder with one folder per instrument, or with folders that hold these.
        cache: whether names in folders are kept between runs, to be listed again only if they
            change: in the user's cache, or in the JSON file given.

    Raises:
        FileNotFoundError: no such folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     notes = Path(folder) / "ENSTDkCl" / "ISOL" / "NO"
        ...     notes.mkdir(parents=True)
        ...     (notes / "MAPS_ISOL_NO_F_S0_M60_ENSTDkCl.wav").touch()
        ...     (note,) = Maps(folder, cache=False).isolated(["ENSTDkCl"])
        >>> note.pitch, note.loudness, note.pedal
        (60, 'F', False)
    """

    def __init__(self, root: str | Path, cache: str | Path | bool = True) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise FileNotFoundError(f"no such MAPS folder: {self.root}")
        if isinstance(cache, bool):
            self._index = _Index(default_cache() if cache else None)
        else:
            self._index = _Index(Path(cache))

    def isolated(
        self,
        instruments: Iterable[str] = SOFTWARE_PIANOS,
        pitches: Iterable[int] = PITCHES,
        modes: Sequence[str] = MODES,
    ) -> list[MapsFile]:
        """Isolated notes, sorted by instrument and name.

        Raises:
            FileNotFoundError: an instrument or its ISOL folder is not there.
            ValueError: no recording is as asked for.
        """
        wanted = set(pitches)
        return self._found(
            [
                file
                for instrument in instruments
                for file in self._below(instrument, "ISOL")
                if file.mode in modes and file.pitch in wanted
            ],
            f"isolated notes of modes {', '.join(modes)}",
        )

    def chords(
        self,
        instrument: str = "ENSTDkCl",
        *,
        polyphony: int,
        intensity: str = "32-96",
        pitches: str = "36-95",
    ) -> list[MapsFile]:
        """Random chords, sorted by name.

        Args:
            instrument: one of `INSTRUMENTS`.
            polyphony: 2 to 7.
            intensity: MIDI velocities, "32-96" or "60-68".
            pitches: "36-95" or "21-108".

        Raises:
            FileNotFoundError: the instrument or the folder of such chords is not there.
            ValueError: the folder holds none.
        """
        folder = f"RAND/M{pitches}/I{intensity}/P{polyphony}"
        return self._found(self._below(instrument, folder), f"recordings in {folder}")

    def music(self, instrument: str = "ENSTDkCl") -> list[MapsFile]:
        """Pieces of music, sorted by name.

        Raises:
            FileNotFoundError: the instrument or its MUS folder is not there.
            ValueError: the folder holds none.
        """
        return self._found(self._below(instrument, "MUS"), "recordings in MUS")

    def frames(
        self,
        files: Iterable[MapsFile],
        config: audio.SpectrogramConfig,
        *,
        progress: bool = False,
    ) -> NoteFrames:
        """The frames of isolated notes between onset and offset, note by note.

        Frames from ``round(onset r)`` up to ``round(offset r)`` of each MIDI event of the file's
        pitch are taken whole, r frames per second; what is silent lies outside the events. Files
        that are missing or cannot be read are named in one warning and skipped. The seven software
        pianos have several 100 000 such frames: 2 kB each at F = 512.

        `NoteFrames.split` then keeps recordings together. The papers split by frames, as
        `NoteFrames.frame_by_frame` makes `split` do.

        Raises:
            ValueError: a file is no isolated note, or none could be read.

        Source: docs/method.md, The MAPS protocol.
        """
        rows, problems = [], []
        for file in bar(sorted(files, key=lambda f: f.pitch or 0), shown=progress, unit="file"):
            if file.pitch is None:
                raise ValueError(f"{file.path} is no isolated note")
            try:
                rows.append((file.pitch, file.path.stem, _event_frames(file, config)))
            except (ValueError, OSError) as error:
                problems.append(f"{file.path}: {error}; skipped")
        report(problems)
        if not rows:
            raise ValueError("none of the MAPS files could be read")
        return NoteFrames.from_rows(rows)

    def concatenated(
        self, files: Iterable[MapsFile], config: audio.SpectrogramConfig, *, pedal: bool = True
    ) -> tuple[audio.Spectrogram, Labels]:
        """Recordings cut from first onset to last offset, one after the other: a test snippet.

        Args:
            files: sorted by name.
            config: the spectrogram to make.
            pedal: notes, and the cut, last until the sustain pedal is released.

        Raises:
            FileNotFoundError: a WAV or MIDI file is missing.
            ValueError: one cannot be read, or there is none.

        Source: docs/method.md, The MAPS protocol.
        """
        return concatenate(((file.path, file.labels(pedal)) for file in files), config)

    def _below(self, instrument: str, subset: str) -> list[MapsFile]:
        folder = self._folder(instrument) / subset
        if not folder.is_dir():
            raise FileNotFoundError(f"no such MAPS folder: {folder}")
        named = [(path, MapsFile.of(path)) for path in self._index.wavs(folder)]
        report([f"{path}: its name is none of MAPS; skipped" for path, file in named if not file])
        return [file for _, file in named if file is not None]

    def _folder(self, instrument: str) -> Path:
        if instrument not in INSTRUMENTS:
            raise ValueError(f"{instrument!r} is no instrument of MAPS: {', '.join(INSTRUMENTS)}")
        # The archives unpack into folders of their own, several per instrument or none.
        for folder in (self.root / instrument, *sorted(self.root.glob(f"*/{instrument}"))):
            if folder.is_dir():
                return folder
        raise FileNotFoundError(f"{self.root} has no folder {instrument}")

    def _found(self, files: list[MapsFile], what: str) -> list[MapsFile]:
        self._index.save()
        if not files:
            raise ValueError(f"{self.root} holds no {what}")
        return files


def _event_frames(file: MapsFile, config: audio.SpectrogramConfig) -> np.ndarray:
    """``(frames, F)`` float32 spectra inside the events of the file's pitch."""
    labels = file.labels().only([file.pitch] if file.pitch is not None else [])
    waveform = audio.load(file.path, config.sr)
    X = audio.spectrogram(waveform, config).values.T
    rate = len(X) / (len(waveform) / config.sr)
    inside = np.zeros(len(X), dtype=bool)
    for first, end in np.rint(labels.intervals * rate).astype(int):
        inside[first:end] = True
    if not inside.any():
        raise ValueError(f"its labels hold no note of pitch {file.pitch}")
    return X[inside].astype(np.float32)


class _Index:
    """Names of the WAV files below folders, kept while the folders are unchanged."""

    def __init__(self, cache: Path | None) -> None:
        self.cache = cache
        self.listings: dict[str, dict[str, Any]] = {}
        self.changed = False
        if cache is not None and cache.is_file():
            try:
                content = json.loads(cache.read_text(encoding="utf-8"))
                if content["format"] == CACHE_FORMAT:
                    self.listings = content["folders"]
            except (OSError, ValueError, TypeError, KeyError) as error:
                logger.info("%s is not readable and is made again: %s", cache, error)

    def wavs(self, folder: Path) -> list[Path]:
        """Sorted, from all levels."""
        folder = folder.resolve()
        modified = folder.stat().st_mtime_ns
        listing = self.listings.get(str(folder))
        if listing is None or listing["modified"] != modified:
            entries = sorted(folder.iterdir())
            listing = {
                "modified": modified,
                "folders": [e.name for e in entries if e.is_dir()],
                "wavs": [e.name for e in entries if e.suffix.lower() == ".wav"],
            }
            self.listings[str(folder)] = listing
            self.changed = True
        found = [folder / name for name in listing["wavs"]]
        for name in listing["folders"]:
            found += self.wavs(folder / name)
        return found

    def save(self) -> None:
        if self.cache is None or not self.changed:
            return
        content = {"format": CACHE_FORMAT, "folders": self.listings}
        try:
            with writing(self.cache, overwrite=True) as path:
                path.write_text(json.dumps(content), encoding="utf-8")
            self.changed = False
        except OSError as error:
            logger.info("the names in MAPS folders are not kept in %s: %s", self.cache, error)
