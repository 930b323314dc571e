"""Spectra of isolated notes, to learn dictionaries from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dds_fast import arrays, audio
from dds_fast.audio.waveforms import cut_short, open_file
from dds_fast.datasets.note_files import Note, Recording, report, search
from dds_fast.datasets.pitch_check import contradicting_pitch


@dataclass(frozen=True, eq=False)
class NoteFrames:
    """Spectra of isolated notes, to learn a dictionary from.

    Attributes:
        frames: ``(N, F)`` float32 spectra.
        sources: the S sources, MIDI numbers or names.
        labels: ``(N,)`` index of each frame's source.
        origins: ``(N,)`` index of the physical recording that each frame comes from.

    Example:
        >>> notes = NoteFrames.from_mapping({60: np.ones((30, 8)), 64: np.ones((20, 8))})
        >>> notes.frames.shape, notes.sources, np.bincount(notes.labels)
        ((50, 8), (60, 64), array([30, 20]))
        >>> training, validation = notes.split(0.2)  # by recording
        >>> len(training.frames), len(validation.frames)
        (40, 10)
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
        frames: list[np.ndarray] = []
        labels, origins = [], []
        for index, (source, values) in enumerate(notes.items()):
            values = np.asarray(arrays.as_numpy(values), dtype=np.float32)
            if values.ndim != 2 or len(values) == 0:
                raise ValueError(
                    f"source {source!r}: expected a (frames, F) array, not {values.shape}"
                )
            if frames and values.shape[1] != frames[0].shape[1]:
                raise ValueError(
                    f"source {source!r} has {values.shape[1]} bins, others {frames[0].shape[1]}"
                )
            what = f"source {source!r}"
            arrays.check_entries(what, values.T, axis="frame", negative=True)
            if values.min() < 0:
                raise ValueError(f"{what} has negative values")
            frames.append(values)
            labels.append(np.full(len(values), index))
            origins.append(10 * index + np.arange(len(values)) * 10 // len(values))
        return cls(
            np.concatenate(frames), tuple(notes), np.concatenate(labels), np.concatenate(origins)
        )

    @classmethod
    def from_notes(
        cls,
        notes: Iterable[Note],
        config: audio.SpectrogramConfig,
        *,
        floor_db: float = 60.0,
        gains_db: Iterable[float] = (0.0,),
    ) -> NoteFrames:
        """Spectra of sounds in memory, made like those of files; see `load_notes`.

        Raises:
            ValueError: no notes, or one that is silent or shorter than a window.
        """
        gains_db = tuple(gains_db)
        rows = []
        for note in notes:
            waveform = audio.to_mono(note.waveform, sr=note.sr, target_sr=config.sr)
            spectra = note_spectra(waveform, config, floor_db=floor_db, gains_db=gains_db)
            rows.append((note.pitch, note.origin, spectra))
        if not rows:
            raise ValueError("no notes were given")
        return cls.from_rows(rows)

    @classmethod
    def from_rows(cls, rows: Sequence[tuple[int, str, np.ndarray]]) -> NoteFrames:
        """From MIDI number, origin and ``(frames, F)`` spectra of each note; at least one."""
        pitches, origins, spectra = zip(*rows, strict=True)
        counts = [len(values) for values in spectra]
        sources, labels = np.unique(pitches, return_inverse=True)
        return cls(
            np.concatenate(spectra),
            tuple(int(source) for source in sources),
            np.repeat(labels, counts),
            np.repeat(np.unique(origins, return_inverse=True)[1], counts),
        )

    def select(self, mask: np.ndarray) -> NoteFrames:
        """The frames where `mask` ``(N,)`` is true; the sources stay."""
        return NoteFrames(self.frames[mask], self.sources, self.labels[mask], self.origins[mask])

    def frame_by_frame(self) -> NoteFrames:
        """The same, each frame a recording of its own: `split` then divides frames, as papers do.

        Validation frames then resemble training frames that are neighbours in time: good enough to
        choose an epoch, no estimate of how well other recordings are met.
        """
        return NoteFrames(self.frames, self.sources, self.labels, np.arange(len(self.frames)))

    def split(self, fraction: float, random_state: int = 0) -> tuple[NoteFrames, NoteFrames]:
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
        for origin in np.random.default_rng(random_state).permutation(sorted(labels_of)):
            own = list(labels_of[origin])
            if np.any(wanted[own] > 0) and np.all(left[own] > 1):
                held_out.append(origin)
                left[own] -= 1
                wanted[own] -= 1
        mask = np.isin(self.origins, held_out)
        return self.select(~mask), self.select(mask)


def note_spectra(
    waveform: np.ndarray,
    config: audio.SpectrogramConfig,
    *,
    floor_db: float = 60.0,
    gains_db: Iterable[float] = (0.0,),
) -> np.ndarray:
    """``(frames, F)`` spectra of one note, at each gain, without its silence.

    Frames whose energy lies more than `floor_db` below the loudest one's are silence.

    Raises:
        ValueError: the waveform is silent, or shorter than one window.
    """
    magnitude = np.abs(audio.stft(waveform, config))[1:]
    energy = np.square(magnitude).sum(axis=0)
    if not energy.max() > 0:
        raise ValueError("the recording is silent")
    magnitude = magnitude[:, energy > energy.max() * 10 ** (-floor_db / 10)]
    levels = [audio.compress(magnitude * 10 ** (gain / 20), config).T for gain in gains_db]
    return np.concatenate(levels).astype(np.float32)


def load_notes(
    notes: str | Path | Iterable[str | Path] | Iterable[Recording],
    config: audio.SpectrogramConfig,
    *,
    pitches: Iterable[int] | None = None,
    floor_db: float = 60.0,
    gains_db: Iterable[float] = (0.0,),
) -> NoteFrames:
    """Spectra of isolated notes, sorted by pitch.

    Files of any sampling rate and length. One warning names every file that is missing, unreadable,
    cut short or without a note in its name; they are skipped and the rest goes on. It also names
    the files that clearly sound like another note than their name says; those are kept.

    Args:
        notes: a folder of notes or several, see `find_notes`; or the recordings that it found.
        config: the spectrogram to make.
        pitches: the MIDI numbers wanted; all by default.
        floor_db: frames this far below the loudest of their note are silence and left out.
        gains_db: each note is taken at each of these levels.

    Raises:
        FileNotFoundError: a folder does not exist.
        ValueError: none of the files could be read.

    Example:
        >>> import tempfile
        >>> from dds_fast.datasets import synthetic
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = synthetic.write_instruments(folder, pitches=(60, 64), seconds=0.3)
        ...     notes = load_notes(folder, audio.SpectrogramConfig(n_fft=1024))
        >>> notes.sources, notes.frames.shape[1], len(set(notes.origins.tolist()))
        ((60, 64), 512, 8)
    """
    recordings, problems = _recordings(notes, pitches)
    gains_db = tuple(gains_db)
    rows = []
    contradictions: dict[Recording, int] = {}
    for recording in recordings:
        try:
            _check_complete(recording.path)
            waveform = audio.load(recording.path, config.sr)
            spectra = note_spectra(waveform, config, floor_db=floor_db, gains_db=gains_db)
        except (ValueError, OSError) as error:
            reason = str(error).removeprefix(f"{recording.path}: ")
            problems.append(f"{recording.path}: {reason}; skipped")
            continue
        heard = contradicting_pitch(waveform, config.sr, recording.pitch)
        if heard is not None:
            contradictions[recording] = heard
        rows.append((recording.pitch, recording.origin, spectra))
    report(problems + _describe(contradictions, recordings))
    if not rows:
        raise ValueError("none of the note files could be read")
    return NoteFrames.from_rows(rows)


def _recordings(notes: Any, pitches: Iterable[int] | None) -> tuple[list[Recording], list[str]]:
    notes = [notes] if isinstance(notes, str | Path) else list(notes)
    if not all(isinstance(note, Recording) for note in notes):
        return search(notes, pitches)
    wanted = None if pitches is None else set(pitches)
    return [note for note in notes if wanted is None or note.pitch in wanted], []


def _check_complete(path: Path) -> None:
    """Raise a ValueError if the header promises more sound than the file holds."""
    if not path.is_file():
        raise FileNotFoundError("there is no such file")
    with open_file(path) as file:
        if cut := cut_short(file):
            raise ValueError(f"the file is cut short: {cut[0]} of {cut[1]} bytes of sound")


def _describe(contradictions: Mapping[Recording, int], recordings: list[Recording]) -> list[str]:
    """A line per file, or one for a folder where most are off by the same interval."""
    sizes = Counter(recording.path.parent for recording in recordings)
    shifts = Counter((r.path.parent, heard - r.pitch) for r, heard in contradictions.items())
    lines = []
    for (folder, shift), count in shifts.items():
        if count > 1 and 2 * count > sizes[folder]:
            lines.append(
                f"{folder}: {count} of {sizes[folder]} files sound {abs(shift)} semitones "
                f"{'above' if shift > 0 else 'below'} their names (here C4 is 60); kept"
            )
    for recording, heard in contradictions.items():
        folder, shift = recording.path.parent, heard - recording.pitch
        count = shifts[folder, shift]
        if not (count > 1 and 2 * count > sizes[folder]):
            lines.append(
                f"{recording.path}: named {recording.pitch}, but sounds like {heard}; kept"
            )
    return lines
