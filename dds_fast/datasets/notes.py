"""Spectra of isolated notes, to learn dictionaries from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dds_fast import arrays, audio
from dds_fast.audio.waveforms import cut_short, open_file
from dds_fast.datasets.note_files import Note, Recording, report, search
from dds_fast.datasets.pitch_check import contradicting_pitch
from dds_fast.notes.names import in_order

GAP = 2
"""Frames on either side of what is held out of a single take that are in no part."""


@dataclass(frozen=True, eq=False)
class NoteFrames:
    """Spectra of isolated notes, to learn a dictionary from.

    Attributes:
        frames: ``(N, F)`` float32 spectra.
        sources: the S sources, MIDI numbers or names.
        labels: ``(N,)`` index of each frame's source.
        origins: ``(N,)`` index of the physical recording that each frame comes from.
        names: of the recordings, where they are known.

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
    names: tuple[str, ...] = ()

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
    def from_rows(cls, rows: Sequence[tuple[int | str, str, np.ndarray]]) -> NoteFrames:
        """From source, origin and ``(frames, F)`` spectra of each note; at least one."""
        named, origins, spectra = zip(*rows, strict=True)
        counts = [len(values) for values in spectra]
        sources = in_order(named)
        return cls(
            np.concatenate(spectra),
            tuple(sources),
            np.repeat([sources.index(source) for source in named], counts),
            np.repeat(np.unique(origins, return_inverse=True)[1], counts),
            tuple(np.unique(origins).tolist()),
        )

    def select(self, mask: np.ndarray) -> NoteFrames:
        """The frames where `mask` ``(N,)`` is true; the sources stay."""
        return replace(
            self, frames=self.frames[mask], labels=self.labels[mask], origins=self.origins[mask]
        )

    def frame_by_frame(self) -> NoteFrames:
        """The same, each frame a recording of its own: `split` then divides frames, as papers do.

        Validation frames then resemble training frames that are neighbours in time: good enough to
        choose an epoch, no estimate of how well other recordings are met.
        """
        return NoteFrames(self.frames, self.sources, self.labels, np.arange(len(self.frames)))

    def split(self, fraction: float, random_state: int = 0) -> tuple[NoteFrames, NoteFrames]:
        """Training and validation frames, by recording; every source keeps a training recording.

        About `fraction` of each source's recordings go to validation. Of a source that has only one
        (`single_takes`) the middle of it does, less a few frames on either side, which are in
        neither part: they share samples with both. A source of one frame has none to validate on.
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
        held = np.isin(self.origins, held_out)
        left_out = np.zeros(len(held), dtype=bool)
        for source in self.single_takes:
            take = np.flatnonzero(self.labels == self.sources.index(source))
            n_held = min(max(1, round(fraction * len(take))), len(take) // 2)
            gap = min(GAP, (len(take) - n_held) // 4)
            first = (len(take) - n_held) // 2
            left_out[take[first - gap : first + n_held + gap]] = True
            held[take[first : first + n_held]] = True
        return self.select(~held & ~left_out), self.select(held)

    @property
    def single_takes(self) -> tuple[int | str, ...]:
        """The sources that have one recording, and share it with no other."""
        pairs = np.unique(np.stack([self.labels, self.origins]), axis=1)
        origins, shared = np.unique(pairs[1], return_counts=True)
        own = np.isin(pairs[1], origins[shared == 1])
        n_recordings = np.bincount(pairs[0], minlength=len(self.sources))
        n_own = np.bincount(pairs[0][own], minlength=len(self.sources))
        once = (n_recordings == 1) & (n_own == 1)
        return tuple(s for s, single in zip(self.sources, once, strict=True) if single)

    def at_levels(self, gains_db: Iterable[float], config: audio.SpectrogramConfig) -> NoteFrames:
        """Each recording at several levels: compressed spectra of soft sounds have another shape.

        Args:
            gains_db: levels beside the own one, 0.
            config: of the frames.
        """
        magnitudes = audio.expand(self.frames, config)
        gains = (0.0, *gains_db)
        levels = [audio.compress(magnitudes * 10 ** (gain / 20), config) for gain in gains]
        step = int(self.origins.max(initial=0)) + 1
        return NoteFrames(
            np.concatenate(levels).astype(np.float32),
            self.sources,
            np.tile(self.labels, len(gains)),
            np.concatenate([self.origins + index * step for index in range(len(gains))]),
        )


def note_spectra(
    waveform: np.ndarray,
    config: audio.SpectrogramConfig,
    *,
    floor_db: float = 60.0,
    gains_db: Iterable[float] = (0.0,),
    spread: float = 1.0,
) -> np.ndarray:
    """``(frames, F)`` spectra of one note, at each gain, without its silence.

    Frames whose energy lies more than `floor_db` below the loudest one's are silence. With a
    `spread` above 1, a frame is taken that lies by this factor further from the first than the one
    before: all of the attack, ever fewer of the decay.

    Raises:
        ValueError: the waveform is silent, or shorter than one window.
    """
    magnitude = np.abs(audio.stft(waveform, config))[1:]
    energy = np.square(magnitude).sum(axis=0)
    if not energy.max() > 0:
        raise ValueError("the recording is silent")
    magnitude = magnitude[:, energy > energy.max() * 10 ** (-floor_db / 10)]
    magnitude = magnitude[:, _spread(magnitude.shape[1], spread)]
    levels = [audio.compress(magnitude * 10 ** (gain / 20), config).T for gain in gains_db]
    return np.concatenate(levels).astype(np.float32)


def _spread(n_frames: int, factor: float) -> list[int]:
    """Indices of the frames taken, each by the factor after the one before, at least by one."""
    taken, place = [], 0.0
    while round(place) < n_frames:
        taken.append(round(place))
        place = max(round(place) + 1, place * factor)
    return taken


def load_notes(
    notes: str | Path | Iterable[str | Path] | Iterable[Recording],
    config: audio.SpectrogramConfig,
    *,
    pitches: Iterable[int] | None = None,
    sources: str | None = "key",
    floor_db: float = 60.0,
    gains_db: Iterable[float] = (0.0,),
    spread: float = 1.0,
    normalise: bool = False,
    problems: Iterable[str] = (),
) -> NoteFrames:
    """Spectra of isolated notes, sorted by source.

    Files of any sampling rate and length. One warning names every file that is missing, unreadable,
    cut short or without a source in its name; they are skipped and the rest goes on. It also names
    the files that clearly sound like another note than their name says; those are kept.

    Args:
        notes: a folder of notes or several, see `find_notes`; or the recordings that it found.
        config: the spectrogram to make.
        pitches: the MIDI numbers wanted; all by default.
        sources: what tells the source of a file, see `find_notes`.
        floor_db: frames this far below the loudest of their note are silence and left out.
        gains_db: each note is taken at each of these levels.
        spread: above 1, ever fewer frames are taken of a decay, see `note_spectra`.
        normalise: bring each file to the level at which recordings are decomposed, where its own
            says nothing of how loud it will be played.
        problems: with the files, that are known already; reported with the others.

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
    recordings, found = _recordings(notes, pitches, sources)
    problems = [*problems, *found]
    gains_db = tuple(gains_db)
    rows = []
    contradictions: dict[Recording, int] = {}
    for recording in recordings:
        try:
            _check_complete(recording.path)
            waveform = audio.load(recording.path, config.sr)
            waveform = waveform * (audio.normalising_gain(waveform) if normalise else 1.0)
            spectra = note_spectra(
                waveform, config, floor_db=floor_db, gains_db=gains_db, spread=spread
            )
        except (ValueError, OSError) as error:
            reason = str(error).removeprefix(f"{recording.path}: ")
            problems.append(f"{recording.path}: {reason}; skipped")
            continue
        if (pitch := recording.pitch) is not None:
            heard = contradicting_pitch(waveform, config.sr, pitch)
            if heard is not None:
                contradictions[recording] = heard
        rows.append((recording.source, recording.origin, spectra))
    report(problems + _describe(contradictions, recordings))
    if not rows:
        raise ValueError("none of the note files could be read")
    return NoteFrames.from_rows(rows)


def _recordings(
    notes: Any, pitches: Iterable[int] | None, sources: str | None
) -> tuple[list[Recording], list[str]]:
    notes = [notes] if isinstance(notes, str | Path) else list(notes)
    if not all(isinstance(note, Recording) for note in notes):
        return search(notes, pitches, sources)[:2]
    wanted = None if pitches is None else set(pitches)
    return [note for note in notes if wanted is None or note.pitch in wanted], []


def _check_complete(path: Path) -> None:
    """Raise a ValueError if the header promises more sound than the file holds."""
    if not path.is_file():
        raise FileNotFoundError("there is no such file")
    with open_file(path) as file:
        if cut := cut_short(file):
            raise ValueError(f"the file is cut short: {cut[0]} of {cut[1]} bytes of sound")


def _describe(heard: Mapping[Recording, int], recordings: list[Recording]) -> list[str]:
    """A line per file, or one for a folder where most are off by the same interval."""
    contradictions = [(r, r.pitch, sounds) for r, sounds in heard.items() if r.pitch is not None]
    sizes = Counter(recording.path.parent for recording in recordings)
    shifts = Counter((r.path.parent, sounds - pitch) for r, pitch, sounds in contradictions)
    lines = []
    for (folder, shift), count in shifts.items():
        if count > 1 and 2 * count > sizes[folder]:
            lines.append(
                f"{folder}: {count} of {sizes[folder]} files sound {abs(shift)} semitones "
                f"{'above' if shift > 0 else 'below'} their names (here C4 is 60); kept"
            )
    for recording, pitch, sounds in contradictions:
        folder = recording.path.parent
        count = shifts[folder, sounds - pitch]
        if not (count > 1 and 2 * count > sizes[folder]):
            lines.append(f"{recording.path}: named {pitch}, but sounds like {sounds}; kept")
    return lines
