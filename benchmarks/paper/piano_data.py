"""What the paper's experiments learn from and are tested on: MAPS, folders of recordings, or tones
that any machine can make."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from paper import maps_tree

from dds_fast import Spectrogram, SpectrogramConfig
from dds_fast.datasets import (
    Labels,
    Maps,
    NoteFrames,
    concatenate,
    find_notes,
    load_labels,
    load_notes,
    random_chords,
)
from dds_fast.datasets.chords import INTENSITIES
from dds_fast.datasets.maps import SOFTWARE_PIANOS
from dds_fast.datasets.note_files import AUDIO_SUFFIXES, Recording

TEST_PIANO = "ENSTDkCl"
POLYPHONIES = range(2, 8)
N_CALIBRATION_CHORDS, N_TEST_CHORDS = 8, 40
CALIBRATION_SEED = 1000
SR = 16000


@dataclass(frozen=True)
class TestSet:
    """Labelled recordings, cut to their labels and concatenated, as the paper does with MAPS.

    Attributes:
        name: of the set.
        files: sorted by name.
        labels: reads the labels of a file.
        delay: seconds by which the sound comes after the labels.
        polyphony: notes of every recording, None where they differ.
        intensity: of `INTENSITIES`, None where it is not one of them.
    """

    __test__ = False  # no test of pytest's

    name: str
    files: tuple[Path, ...]
    labels: Callable[[Path], Labels]
    delay: float = 0.0
    polyphony: int | None = None
    intensity: str | None = None

    def chosen(self, n_files: int | None, seed: int) -> tuple[tuple[Path, ...], int]:
        """All files; or `n_files`, others for each seed: and how often all have been taken before.

        So more seeds never change what the first ones search.
        """
        if n_files is None or n_files >= len(self.files):
            return self.files, seed
        times, place = divmod(seed, len(self.files) // n_files)
        return self.files[place * n_files :][:n_files], times

    def snippet(
        self,
        config: SpectrogramConfig,
        files: Sequence[Path],
        seconds: float | None = None,
        part: int = 0,
    ) -> tuple[Spectrogram, Labels]:
        """Spectrogram and labels, delayed; of each file all, or a part of so many seconds."""
        return concatenate(((path, self._part(path, seconds, part)) for path in files), config)

    def _part(self, path: Path, seconds: float | None, part: int) -> Labels:
        """Parts are counted from the first note on, those without a note left out."""
        labels = self.labels(path).shifted(self.delay)
        if seconds is None or len(labels) == 0:
            return labels
        on, off = labels.intervals.T
        starts = np.arange(on.min(), off.max(), seconds)
        sounding = [t for t in starts if ((on < t + seconds) & (off > t)).any()]
        start = sounding[part % len(sounding)]
        end = start + seconds
        labels = labels.select((on < end) & (off > start))
        return Labels(labels.intervals.clip(start, end), labels.pitches, labels.velocities)


@dataclass(frozen=True)
class PianoData:
    """Notes to learn from, and what to test on.

    Attributes:
        name: "MAPS", "recorded" or "generated".
        description: what it is, a sentence.
        notes: frames of the isolated notes at a spectrogram's settings.
        sets: recordings of a piano that is not among the notes.
        calibration: chords of the pianos to learn from, on which thresholds are chosen.
    """

    name: str
    description: str
    notes: Callable[[SpectrogramConfig], NoteFrames]
    sets: tuple[TestSet, ...]
    calibration: TestSet

    def set(self, name: str) -> TestSet:
        return next(one for one in self.sets if one.name == name)

    def chords(self, polyphony: int, intensity: str = "32-96") -> TestSet | None:
        """The set of such chords; folders that do not tell the intensity are taken as 32-96."""
        for one in self.sets:
            if one.polyphony == polyphony and (one.intensity or "32-96") == intensity:
                return one
        return None


def from_maps(
    root: Path, name: str = "MAPS", *, description: str | None = None, frame_split: bool = True
) -> PianoData:
    """MAPS, or a tree of its layout: those software pianos that are there, and the Disklavier.

    Raises:
        FileNotFoundError: no such folder, no piano to learn from, or no Disklavier.
    """
    maps = Maps(root)
    pianos = [p for p in SOFTWARE_PIANOS if (root / p).is_dir() or list(root.glob(f"*/{p}"))]
    if not pianos:
        raise FileNotFoundError(f"{root} has no folder of {', '.join(SOFTWARE_PIANOS)}")

    def notes(config: SpectrogramConfig) -> NoteFrames:
        frames = maps.frames(maps.isolated(pianos), config)
        return frames.frame_by_frame() if frame_split else frames

    def chords(piano: str, polyphony: int, intensity: str) -> TestSet | None:
        try:
            files = maps.chords(piano, polyphony=polyphony, intensity=intensity)
        except (FileNotFoundError, ValueError):
            return None
        labels = {file.path: functools.partial(file.labels, pedal=True) for file in files}
        return TestSet(
            f"P{polyphony} I{intensity}",
            tuple(labels),
            lambda path: labels[path](),
            polyphony=polyphony,
            intensity=intensity,
        )

    found = [chords(TEST_PIANO, p, i) for i in ("32-96", "60-68") for p in POLYPHONIES]
    calibration = [chords(piano, 2, "32-96") for piano in pianos]
    sets = tuple(one for one in found if one is not None)
    side = next((one for one in calibration if one is not None), None)
    if not sets or side is None:
        raise FileNotFoundError(f"{root} lacks RAND chords of {TEST_PIANO} or of {pianos[0]}")
    text = description or f"MAPS: ISOL of {', '.join(pianos)}; RAND M36-95 of {TEST_PIANO}"
    return PianoData(name, text, notes, sets, side)


def from_folders(
    notes: Sequence[Path],
    mixtures: Sequence[str],
    work: Path,
    *,
    held_out: Path | None = None,
    every: int = 1,
) -> PianoData:
    """Folders of isolated notes, and folders of recordings each with a label file of its stem.

    Args:
        notes: as `dds_fast.datasets.find_notes` takes them.
        mixtures: ``FOLDER`` or ``FOLDER@DELAY``, the seconds by which sound follows the labels.
        work: where chords mixed from notes are written.
        held_out: isolated notes of another piano, of which chords to test on are mixed: of every
            polyphony at I32-96, and the two-note ones at I60-68, of the same keys and recordings.
        every: of the frames of the notes, every so many-th is learned from.

    Raises:
        FileNotFoundError: a folder or a label file is not there.
        ValueError: a folder holds no recordings, or a delay is no number.
    """
    sets = [_mixture(text) for text in mixtures]
    recordings = find_notes(notes)
    pianos = sorted({recording.path.parent.name for recording in recordings})
    if held_out is not None:
        others = find_notes(held_out)
        if shared := {one.path for one in recordings} & {one.path for one in others}:
            raise ValueError(f"{min(shared)}: held out and learned from")
        kinds = [(p, "32-96") for p in POLYPHONIES] + [(2, "60-68")]
        mixed = [_mixed(others, work / held_out.name, held_out.name, *kind) for kind in kinds]
        sets = [*mixed, *sets]
    calibration = _mixed(recordings, work, "calibration", 2, "32-96", N_CALIBRATION_CHORDS)
    names = ", ".join(one.name for one in sets)

    def frames(config: SpectrogramConfig) -> NoteFrames:
        found = load_notes(recordings, config)
        return found.select(np.arange(len(found.frames)) % every == 0)

    thinned = "" if every == 1 else f", one frame in {every}"
    text = f"isolated notes of {', '.join(pianos)}{thinned}; tested on {names}"
    return PianoData("recorded", text, frames, tuple(sets), calibration)


def _mixed(
    recordings: Sequence[Recording],
    work: Path,
    name: str,
    polyphony: int,
    intensity: str,
    n_chords: int = N_TEST_CHORDS,
) -> TestSet:
    """Chords of isolated notes, written below `work`."""
    folder = work / f"P{polyphony} I{intensity}"
    folder.mkdir(parents=True, exist_ok=True)
    chords = random_chords(
        recordings,
        polyphony=polyphony,
        n_chords=n_chords,
        sr=SR,
        velocities=INTENSITIES[intensity],
        random_state=CALIBRATION_SEED + polyphony,
    )
    labels: dict[Path, Labels] = {}
    for number, (wave, of_chord) in enumerate(chords):
        path = folder / f"{number:03d}.flac"
        soundfile.write(path, wave, SR)
        labels[path] = of_chord
    name = f"{name} {folder.name}"
    return TestSet(
        name, tuple(labels), labels.__getitem__, polyphony=polyphony, intensity=intensity
    )


def _mixture(text: str) -> TestSet:
    name, _, delay = text.partition("@")
    folder = Path(name)
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder of mixtures: {folder}")
    try:
        seconds = float(delay or 0)
    except ValueError:
        raise ValueError(f"{text}: the delay {delay!r} is no number of seconds") from None
    files = tuple(sorted(p for p in folder.iterdir() if p.suffix.lower() in AUDIO_SUFFIXES))
    if not files:
        raise ValueError(f"{folder} holds no recordings")
    found = {path: load_labels(path.with_suffix(".txt")) for path in files}
    counts = {len(labels) for labels in found.values()}
    return TestSet(
        "/".join(folder.resolve().parts[-2:]),
        files,
        found.__getitem__,
        seconds,
        polyphony=counts.pop() if len(counts) == 1 else None,
    )


def generated(
    work: Path,
    *,
    pitches: Iterable[int] = range(48, 72),
    n_pianos: int = 2,
    polyphonies: Iterable[int] = POLYPHONIES,
    n_chords: int = 9,
    seed: int = 0,
) -> PianoData:
    """A tree in MAPS's layout, of made instruments; the one to test on is not among the others."""
    pianos = SOFTWARE_PIANOS[:n_pianos]
    pitches, root = tuple(pitches), work / "maps"
    for names, polyphony in ((pianos, (2,)), ((TEST_PIANO,), tuple(polyphonies))):
        maps_tree.write_tree(
            root,
            instruments=names,
            pitches=pitches,
            modes=("NO", "LG"),
            polyphonies=polyphony,
            intensities=tuple(INTENSITIES),
            n_chords=n_chords,
            # Timbres are drawn from the seed and the place: none may be that of another piano.
            random_state=seed if names is pianos else seed + 1,
            overwrite=True,
        )
    text = (
        f"made instruments, keys {pitches[0]} to {pitches[-1]}: {n_pianos} to learn from, chords "
        "of another one"
    )
    return from_maps(root, "generated", description=text, frame_split=False)


def add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data", "by default made instruments")
    group.add_argument("--maps", type=Path, metavar="PATH", help="MAPS: the paper's protocol")
    group.add_argument("--notes", type=Path, nargs="+", metavar="DIR", help="isolated notes")
    group.add_argument(
        "--mixtures",
        nargs="+",
        metavar="DIR[@DELAY]",
        help="recordings with labels of the same stem, and how many seconds sound follows labels",
    )
    group.add_argument(
        "--held-out", type=Path, metavar="DIR", help="isolated notes of which chords are mixed"
    )
    group.add_argument(
        "--every", type=int, default=1, metavar="N", help="learn from one frame in N of the notes"
    )


def chosen(options: argparse.Namespace, work: Path, *, tiny: bool = False) -> PianoData:
    """The data that the options ask for; what must be written goes to the folder `work`.

    Raises:
        FileNotFoundError: a folder is not there.
        ValueError: MAPS and folders at once, or notes without mixtures.
    """
    if options.maps is not None and (options.notes or options.mixtures):
        raise ValueError("give either --maps, or --notes and --mixtures")
    if bool(options.notes) != bool(options.mixtures or options.held_out):
        raise ValueError("--notes and --mixtures, or --held-out, belong together")
    if options.maps is not None:
        return from_maps(options.maps)
    if options.notes:
        return from_folders(
            options.notes,
            options.mixtures or (),
            work,
            held_out=options.held_out,
            every=options.every,
        )
    if tiny:
        return generated(work, pitches=range(60, 69), n_pianos=1, polyphonies=(2, 3), n_chords=3)
    return generated(work)
