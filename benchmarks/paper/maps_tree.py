"""Small trees in the layout of MAPS.

Of made instruments, to try everything without the database (`write_tree`), or of chords mixed from
recorded notes, to score them by the protocol of the paper (`write_chords`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from dds_fast.datasets.chords import INTENSITIES, random_chords
from dds_fast.datasets.note_files import Recording, find_notes, write_notes
from dds_fast.datasets.synthetic import Instrument
from dds_fast.files import writing
from dds_fast.notes.score import Labels
from dds_fast.notes.score_midi import PEDAL

SR = 44100
LEAD_IN = 0.5
LOUDNESS = {"P": 40, "M": 70, "F": 100}
"""Velocities."""

HELD = {"NO": [(0.0, 0.6)], "LG": [(0.0, 1.0)], "ST": [(0.0, 0.2)], "RE": [(0.0, 0.2), (0.4, 0.6)]}
"""Onset and offset of each event of a mode, shorter than the database's."""

DAMPING = 0.1


def write_file(
    path: Path, wave: np.ndarray, sr: int, labels: Labels, *, pedal: bool, overwrite: bool = False
) -> None:
    """Write WAV (stereo, 16 bit), MIDI and text of one recording.

    Args:
        path: of the WAV file.
        wave: ``(n,)`` floats in [-1, 1].
        sr: its sampling rate in Hz.
        labels: its notes; text and MIDI hold their offsets.
        pedal: the sustain pedal is down all the time, as the MIDI file then says.
        overwrite: replace existing files.

    Raises:
        FileExistsError: one of the files is there.
    """
    import pretty_midi
    import soundfile

    instrument = pretty_midi.Instrument(program=0)
    lines = ["OnsetTime\tOffsetTime\tMidiPitch"]
    rows = zip(labels.intervals.tolist(), labels.pitches, labels.velocities, strict=True)
    for (onset, offset), pitch, velocity in rows:
        instrument.notes.append(pretty_midi.Note(int(velocity), int(pitch), onset, offset))
        lines.append(f"{onset:.6f}\t{offset:.6f}\t{pitch}")
    if pedal:
        instrument.control_changes = [
            pretty_midi.ControlChange(PEDAL, 127, 0.0),
            pretty_midi.ControlChange(PEDAL, 0, len(wave) / sr),
        ]
    midi = pretty_midi.PrettyMIDI(resolution=960)
    midi.instruments.append(instrument)
    with writing(path, overwrite) as temporary:
        soundfile.write(temporary, np.stack([wave, wave], axis=1), sr, subtype="PCM_16")
    with writing(path.with_suffix(".mid"), overwrite) as temporary:
        midi.write(str(temporary))
    with writing(path.with_suffix(".txt"), overwrite) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_isolated(
    root: str | Path,
    instrument: Instrument,
    name: str,
    *,
    pitches: Iterable[int] = range(36, 96),
    modes: Sequence[str] = tuple(HELD),
    loudnesses: Sequence[str] = tuple(LOUDNESS),
    random_state: int = 0,
    overwrite: bool = False,
) -> None:
    """Write ``<name>/ISOL/<mode>/MAPS_ISOL_*`` of a made instrument.

    Each note is played once with the sustain pedal up or down, drawn at random; with the pedal
    down it sounds on after its offset.

    Args:
        root: of the tree.
        instrument: what is played.
        name: one of `maps.INSTRUMENTS`, for folders and files.
        pitches: MIDI numbers.
        modes: of `HELD`.
        loudnesses: of `LOUDNESS`.
        random_state: seed of the pedal.
        overwrite: replace existing files.
    """
    rng = np.random.default_rng(random_state)
    for mode in modes:
        for pitch in pitches:
            for loudness in loudnesses:
                pedal = bool(rng.integers(2))
                wave = np.zeros(round((LEAD_IN + HELD[mode][-1][1] + 0.4) * SR), np.float32)
                for onset, offset in HELD[mode]:
                    first = round((LEAD_IN + onset) * SR)
                    rest = (len(wave) - first) / SR
                    sounding = rest if pedal else min(rest, offset - onset + DAMPING)
                    tone = instrument.tone(pitch, LOUDNESS[loudness], sounding, SR)
                    wave[first : first + len(tone)] += tone[: len(wave) - first]
                n = len(HELD[mode])
                labels = Labels(
                    LEAD_IN + np.array(HELD[mode]),
                    np.full(n, pitch),
                    np.full(n, float(LOUDNESS[loudness])),
                )
                stem = f"MAPS_ISOL_{mode}_{loudness}_S{int(pedal)}_M{pitch}_{name}"
                path = Path(root) / name / "ISOL" / mode / f"{stem}.wav"
                write_file(path, wave / n, SR, labels, pedal=pedal, overwrite=overwrite)


def write_chords(
    root: str | Path,
    recordings: Sequence[Recording],
    name: str,
    *,
    polyphonies: Iterable[int] = range(2, 8),
    intensities: Iterable[str] = tuple(INTENSITIES),
    pitches: tuple[int, int] = (36, 95),
    n_chords: int = 50,
    sr: int = SR,
    random_state: int = 0,
    overwrite: bool = False,
) -> None:
    """Write ``<name>/RAND/M36-95/I32-96/P2/MAPS_RAND_*``: chords mixed from isolated notes.

    Args:
        root: of the tree.
        recordings: isolated notes; those within `pitches` are used.
        name: one of `maps.INSTRUMENTS`, for folders and files.
        polyphonies: notes per chord.
        intensities: of `chords.INTENSITIES`.
        pitches: lowest and highest pitch.
        n_chords: per folder.
        sr: sampling rate in Hz; the database has 44100.
        random_state: seed of everything random.
        overwrite: replace existing files.
    """
    low, high = pitches
    usable = [one for one in recordings if one.pitch is not None and low <= one.pitch <= high]
    for intensity in intensities:
        for polyphony in polyphonies:
            folder = Path(root) / name / "RAND" / f"M{low}-{high}" / f"I{intensity}"
            chords = random_chords(
                usable,
                polyphony=polyphony,
                n_chords=n_chords,
                sr=sr,
                velocities=INTENSITIES[intensity],
                random_state=random_state,
            )
            for number, (wave, labels) in enumerate(chords, start=1):
                stem = f"MAPS_RAND_P{polyphony}_M{low}-{high}_I{intensity}_S0_n{number}_{name}"
                path = folder / f"P{polyphony}" / f"{stem}.wav"
                write_file(path, wave, sr, labels, pedal=False, overwrite=overwrite)


def write_music(
    root: str | Path,
    instrument: Instrument,
    name: str,
    *,
    pitches: Sequence[int] = (48, 55, 60, 64, 67, 72),
    overwrite: bool = False,
) -> None:
    """Write ``<name>/MUS/MAPS_MUS-synthetic_*``: a broken chord, the pedal down."""
    wave = np.zeros(round((LEAD_IN + 0.25 * len(pitches) + 1.0) * SR), np.float32)
    intervals = []
    for i, pitch in enumerate(pitches):
        onset = LEAD_IN + 0.25 * i
        first = round(onset * SR)
        tone = instrument.tone(pitch, 80, (len(wave) - first) / SR, SR)
        wave[first : first + len(tone)] += tone[: len(wave) - first]
        intervals.append((onset, onset + 0.2))
    labels = Labels(np.array(intervals), np.array(pitches), np.full(len(pitches), 80.0))
    path = Path(root) / name / "MUS" / f"MAPS_MUS-synthetic_{name}.wav"
    write_file(path, 0.8 * wave / np.abs(wave).max(), SR, labels, pedal=True, overwrite=overwrite)


def write_tree(
    root: str | Path,
    *,
    instruments: Sequence[str] = ("StbgTGd2", "AkPnBcht", "ENSTDkCl"),
    pitches: Iterable[int] = range(36, 96),
    modes: Sequence[str] = ("NO", "ST"),
    loudnesses: Sequence[str] = ("P", "F"),
    polyphonies: Iterable[int] = range(2, 8),
    intensities: Iterable[str] = tuple(INTENSITIES),
    n_chords: int = 5,
    random_state: int = 0,
    overwrite: bool = False,
) -> Path:
    """Write a small tree: each instrument another timbre, isolated notes, chords, a piece.

    Returns:
        The root, for `maps.Maps`.

    Raises:
        FileExistsError: a file is there already.
    """
    root, pitches = Path(root), tuple(pitches)
    polyphonies, intensities = tuple(polyphonies), tuple(intensities)
    for index, name in enumerate(instruments):
        instrument = Instrument.draw(name, 1000 * random_state + index)
        write_isolated(
            root,
            instrument,
            name,
            pitches=pitches,
            modes=modes,
            loudnesses=loudnesses,
            random_state=random_state,
            overwrite=overwrite,
        )
        with tempfile.TemporaryDirectory() as folder:
            notes = write_notes(folder, instrument.notes(pitches, (70, 100), 1.6, SR))
            write_chords(
                root,
                find_notes(notes),
                name,
                polyphonies=polyphonies,
                intensities=intensities,
                pitches=(36, 95),
                n_chords=n_chords,
                random_state=random_state + index,
                overwrite=overwrite,
            )
        write_music(root, instrument, name, overwrite=overwrite)
    return root
