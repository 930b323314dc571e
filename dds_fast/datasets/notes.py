"""Isolated notes in a folder: one file per note, the note in the file name.

Names are read by their first part: a MIDI number (``60.wav``, ``060_mf.flac``) or a note name
(``C4.wav``, ``Fs3_v2.ogg``, ``Bb2-pp.flac``). One sub-folder per instrument is usual; sub-folders
are searched. An ``index.csv`` with the columns ``midi,layer,source`` tells which files come from
the same recording, so that training and validation can be split by recording.
"""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dds_fast import audio

logger = logging.getLogger("dds_fast")

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff")
_NUMBER = re.compile(r"^(\d{1,3})(?=$|[^0-9a-zA-Z])")
_NAME = re.compile(r"^([A-Ga-g])(s|#|b|)(-?\d)(?=$|[^0-9])")
_PITCH_CLASS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}


@dataclass(frozen=True)
class Recording:
    """One file with one isolated note.

    Attributes:
        path: the audio file.
        pitch: MIDI number.
        origin: identifies the physical recording; resampled copies share it.
    """

    path: Path
    pitch: int
    origin: str


def pitch_of(stem: str) -> int | None:
    """MIDI number named by the first part of a file stem, or None.

    Example:
        >>> pitch_of("60_v1"), pitch_of("Fs3-pp"), pitch_of("piano")
        (60, 54, None)
    """
    if match := _NUMBER.match(stem):
        pitch = int(match[1])
    elif match := _NAME.match(stem):
        accidental = {"": 0, "s": 1, "#": 1, "b": -1}[match[2]]
        pitch = 12 * (int(match[3]) + 1) + _PITCH_CLASS[match[1].lower()] + accidental
    else:
        return None
    return pitch if 0 <= pitch <= 127 else None


def find_notes(
    folders: str | Path | Iterable[str | Path], pitches: Iterable[int] | None = None
) -> list[Recording]:
    """Recordings of isolated notes below one or several folders, sorted by pitch and path.

    Raises:
        FileNotFoundError: a folder does not exist.
        ValueError: no file below the folders names a (wanted) note.
    """
    if isinstance(folders, str | Path):
        folders = [folders]
    wanted = None if pitches is None else set(pitches)
    recordings, unnamed = [], []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise FileNotFoundError(f"no such folder of notes: {folder}")
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
        origins: dict[Path, Mapping[str, str]] = {}
        for path in files:
            pitch = pitch_of(path.stem)
            if pitch is None:
                unnamed.append(path)
            elif wanted is None or pitch in wanted:
                if path.parent not in origins:
                    origins[path.parent] = _read_index(path.parent / "index.csv")
                origin = origins[path.parent].get(path.stem, path.stem)
                recordings.append(Recording(path, pitch, f"{path.parent}/{origin}"))
    if unnamed:
        logger.warning(
            "%d audio files name no note and were skipped, the first is %s",
            len(unnamed),
            unnamed[0],
        )
    if not recordings:
        raise ValueError(
            f"no isolated notes found in {', '.join(map(str, folders))}: file names must begin "
            "with a MIDI number (60_x.wav) or a note name (C4.wav)"
        )
    return sorted(recordings, key=lambda r: (r.pitch, str(r.path)))


def _read_index(path: Path) -> dict[str, str]:
    """Origin by file stem ``<midi>_<layer>``, from an index.csv if there is one."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        missing = {"midi", "layer", "source"} - set(rows.fieldnames or ())
        if missing:
            raise ValueError(f"{path} lacks the columns {', '.join(sorted(missing))}")
        return {f"{row['midi']}_{row['layer']}": row["source"] for row in rows}


def note_frames(
    recording: Recording,
    config: audio.SpectrogramConfig,
    *,
    floor_db: float = 60.0,
    gains_db: Iterable[float] = (0.0,),
) -> np.ndarray:
    """``(frames, F)`` spectra of one note, at each gain, without its silence.

    Frames whose energy lies more than `floor_db` below the loudest one's are silence.
    """
    waveform = audio.load(recording.path, config.sr)
    magnitude = np.abs(audio.stft(waveform, config))[1:]
    energy = np.square(magnitude).sum(axis=0)
    if not energy.max() > 0:
        raise ValueError("the recording is silent")
    magnitude = magnitude[:, energy > energy.max() * 10 ** (-floor_db / 10)]
    levels = [audio.compress(magnitude * 10 ** (gain / 20), config).T for gain in gains_db]
    return np.concatenate(levels).astype(np.float32)


@dataclass(frozen=True, eq=False)
class NoteFrames:
    """Spectra of isolated notes, to learn a dictionary from.

    Attributes:
        frames: ``(N, F)`` float32 spectra.
        sources: the S sources, MIDI numbers or names.
        labels: ``(N,)`` index of each frame's source.
        origins: ``(N,)`` index of the physical recording that each frame comes from.
    """

    frames: np.ndarray
    sources: tuple[int | str, ...]
    labels: np.ndarray
    origins: np.ndarray

    @classmethod
    def from_mapping(cls, notes: Mapping[int | str, np.ndarray]) -> NoteFrames:
        """Notes given as ``{source: (frames, F) array}``, in ten blocks of frames per source.

        Raises:
            ValueError: nothing given, arrays of other shapes, NaN, infinite or negative values.
        """
        if not notes:
            raise ValueError("no notes were given")
        frames, labels, origins = [], [], []
        for index, (source, values) in enumerate(notes.items()):
            values = np.asarray(values, dtype=np.float32)
            if values.ndim != 2 or len(values) == 0:
                raise ValueError(
                    f"source {source!r}: expected a (frames, F) array, not {values.shape}"
                )
            if frames and values.shape[1] != frames[0].shape[1]:
                raise ValueError(
                    f"source {source!r} has {values.shape[1]} bins, others {frames[0].shape[1]}"
                )
            audio.check_finite(values.T, f"source {source!r}", "frame")
            if values.min() < 0:
                raise ValueError(f"source {source!r} has negative values")
            frames.append(values)
            labels.append(np.full(len(values), index))
            origins.append(10 * index + np.arange(len(values)) * 10 // len(values))
        return cls(
            np.concatenate(frames), tuple(notes), np.concatenate(labels), np.concatenate(origins)
        )

    def select(self, mask: np.ndarray) -> NoteFrames:
        """The frames where `mask` ``(N,)`` is true; the sources stay."""
        return NoteFrames(self.frames[mask], self.sources, self.labels[mask], self.origins[mask])

    def split(self, fraction: float, seed: int = 0) -> tuple[NoteFrames, NoteFrames]:
        """Training and validation frames, by recording; every source keeps a training recording.

        About `fraction` of each source's recordings go to validation, none of a source that has
        only one.
        """
        labels_of: dict[int, set[int]] = {}
        for label, origin in set(zip(self.labels.tolist(), self.origins.tolist(), strict=True)):
            labels_of.setdefault(origin, set()).add(label)
        left = np.zeros(len(self.sources), dtype=int)
        for labels in labels_of.values():
            left[list(labels)] += 1
        wanted = np.where(left > 1, np.maximum(1, np.rint(fraction * left)), 0)
        held_out = []
        for origin in np.random.default_rng(seed).permutation(sorted(labels_of)):
            labels = list(labels_of[origin])
            if np.any(wanted[labels] > 0) and np.all(left[labels] > 1):
                held_out.append(origin)
                left[labels] -= 1
                wanted[labels] -= 1
        mask = np.isin(self.origins, held_out)
        return self.select(~mask), self.select(mask)


def load_notes(
    recordings: Iterable[Recording],
    config: audio.SpectrogramConfig,
    *,
    floor_db: float = 60.0,
    gains_db: Iterable[float] = (0.0,),
) -> NoteFrames:
    """Spectra of isolated notes, sorted by pitch.

    Unreadable files are reported together in one warning; the rest goes on.

    Args:
        recordings: from `find_notes`.
        config: the spectrogram to make.
        floor_db: frames this far below the loudest of their note are silence and left out.
        gains_db: each note is taken at each of these levels.

    Raises:
        ValueError: none of the files could be read.
    """
    gains_db = tuple(gains_db)
    frames, pitches, origins, failures = [], [], [], []
    for recording in recordings:
        try:
            spectra = note_frames(recording, config, floor_db=floor_db, gains_db=gains_db)
        except (ValueError, OSError) as error:
            failures.append(f"{recording.path}: {error}")
            continue
        frames.append(spectra)
        pitches += [recording.pitch] * len(spectra)
        origins += [recording.origin] * len(spectra)
    if failures:
        logger.warning("%d note files were skipped:\n%s", len(failures), "\n".join(failures))
    if not frames:
        raise ValueError("none of the note files could be read")
    sources, labels = np.unique(pitches, return_inverse=True)
    return NoteFrames(
        np.concatenate(frames),
        tuple(int(source) for source in sources),
        labels,
        np.unique(origins, return_inverse=True)[1],
    )
