"""Notes out of source activations, and notes out of the library: CSV and MIDI."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dds_fast import scalars
from dds_fast.files import writing
from dds_fast.notes import hits
from dds_fast.notes.general_midi import Numbers, number, numbers
from dds_fast.notes.names import NO_PITCH, in_order, parts
from dds_fast.notes.score import Labels

if TYPE_CHECKING:
    import pretty_midi

NOTE_COLUMNS = ("start_time_s", "end_time_s", "pitch_midi", "velocity")


@dataclass(frozen=True)
class Note:
    """One note of a source.

    Attributes:
        start: seconds.
        end: seconds.
        source: MIDI number, or a name.
        velocity: 1 to 127, from the note's peak relative to the strongest note found.
        confidence: what a calibrated dictionary says of it, from 0 to 1, see
            `dds_fast.temporal.states`; None without one. Notes that differ in it alone are equal.

    Example:
        >>> note = Note(start=0.5, end=1.25, source=60, velocity=100)
        >>> note.end - note.start
        0.75
    """

    start: float
    end: float
    source: int | str
    velocity: int
    confidence: float | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Detection:
    """What of a source's activation is a note: a hysteresis of two thresholds.

    A note lasts while the activation is above `lower`, and is one only if it reaches `upper`.

    Attributes:
        upper: threshold of a note's peak, in the units of the source activations.
        lower: threshold of all its frames, likewise.
        min_duration: shorter notes are dropped, in seconds.
        max_gap: a source that pauses no longer than this goes on with the same note, in seconds;
            hits of a source are further apart.
        hits: notes are hits, as of drums: an activation that rises by `upper` begins one, even
            where it has not died away; it lasts at least `min_duration`.

    Raises:
        ValueError: a value that is negative or not finite, or `lower` above `upper`.

    Example:
        >>> Detection(upper=0.4, lower=0.1)
        Detection(upper=0.4, lower=0.1, min_duration=0.1, max_gap=0.07, hits=False)
    """

    upper: float
    lower: float
    min_duration: float = 0.1
    max_gap: float = 0.07
    hits: bool = False

    def __post_init__(self) -> None:
        given = asdict(self)
        checked: dict[str, Any] = {"hits": scalars.flag("Detection: hits", given.pop("hits"))}
        checked |= {n: scalars.not_negative(f"Detection: {n}", v) for n, v in given.items()}
        self.__dict__.update(checked)  # frozen, but plain numbers from here on
        if self.lower > self.upper:
            raise ValueError(f"Detection: lower ({self.lower}) is above upper ({self.upper})")

    @classmethod
    def at(cls, threshold: float) -> Detection:
        """One threshold for both."""
        return cls(upper=threshold, lower=threshold)

    @classmethod
    def uncalibrated(cls, source_activations: np.ndarray) -> Detection:
        """A quarter of the strongest of the ``(S, T)`` activations, and half of that."""
        upper = 0.25 * float(_finite(source_activations).max(initial=0.0))
        return cls(upper=upper, lower=0.5 * upper)


def _finite(activations: np.ndarray) -> np.ndarray:
    """Zero where a search that broke down left NaN or infinity."""
    return np.where(np.isfinite(activations), activations, 0)


def stored_detection(
    detection: Mapping[str, Any] | None, threshold: float | None
) -> Detection | None:
    """What a file says: a `Detection`'s fields, or, if it is an old one, a single threshold.

    Example:
        >>> stored_detection(None, 0.3)
        Detection(upper=0.3, lower=0.3, min_duration=0.1, max_gap=0.07, hits=False)
    """
    if detection is not None:
        return Detection(**detection)
    return None if threshold is None else Detection.at(threshold)


def find_notes(
    source_activations: np.ndarray,
    sources: Sequence[int | str],
    frame_rate: float,
    detection: Detection,
) -> list[Note]:
    """Runs of frames in which a source is active, as `Detection` defines it.

    A run's note begins and ends half a frame outside its first and last frame, a hit where it rises
    most.

    Args:
        source_activations: ``(S, T)``.
        sources: S MIDI numbers or names.
        frame_rate: frames per second; the first is centred on 0 s.
        detection: the thresholds and durations.

    Returns:
        Notes sorted by start time.

    Example:
        >>> H = np.array([[0.0, 0.2, 0.9, 0.2, 0.0], [0.0, 0.2, 0.2, 0.0, 0.0]])
        >>> find_notes(H, [60, 64], 10.0, Detection(upper=0.5, lower=0.1))
        [Note(start=0.05, end=0.35, source=60, velocity=127)]
    """
    source_activations = _finite(source_activations)
    found = []
    for activation, source in zip(source_activations, sources, strict=True):
        for start, end, peak in (_hits if detection.hits else _sustained)(
            activation, frame_rate, detection
        ):
            found.append((start, end, source, peak))
    strongest = max((peak for *_, peak in found), default=0.0)
    notes = [
        Note(start, end, source, max(1, round(127 * peak / strongest)))
        for start, end, source, peak in found
    ]
    return sorted(notes, key=lambda note: (note.start, str(note.source)))


Span = tuple[float, float, float]
"""Start and end of a note in seconds, and its peak."""


def _sustained(activation: np.ndarray, frame_rate: float, detection: Detection) -> Iterator[Span]:
    active = activation > detection.lower
    for first, end in runs(active, int(detection.max_gap * frame_rate)):
        peak = float(activation[first:end].max())
        start, stop = max(0.0, first - 0.5) / frame_rate, (end - 0.5) / frame_rate
        if peak >= detection.upper and stop - start >= detection.min_duration:
            yield start, stop, peak


def _hits(activation: np.ndarray, frame_rate: float, detection: Detection) -> Iterator[Span]:
    thresholds = detection.upper, detection.lower, detection.max_gap
    for first, end in hits.spans(activation, frame_rate, *thresholds):
        start = first / frame_rate
        stop = max((end - 0.5) / frame_rate, start + detection.min_duration)
        yield start, stop, float(activation[first:end].max(initial=0.0))


def runs(active: np.ndarray, max_gap: int = 0) -> list[tuple[int, int]]:
    """First frame and end (exclusive) of each run of true, runs at most `max_gap` apart joined.

    Example:
        >>> active = np.array([0, 1, 1, 0, 1, 0, 0, 0, 1], dtype=bool)
        >>> runs(active), runs(active, max_gap=1)
        ([(1, 3), (4, 5), (8, 9)], [(1, 5), (8, 9)])
    """
    edges = np.flatnonzero(np.diff(active, prepend=False, append=False))
    if len(edges) == 0:
        return []
    apart = edges[2::2] - edges[1:-1:2] > max_gap
    firsts = [int(edges[0]), *edges[2::2][apart].tolist()]
    ends = [*edges[1:-1:2][apart].tolist(), int(edges[-1])]
    return list(zip(firsts, ends, strict=True))


def to_labels(notes: Sequence[Note]) -> Labels:
    """Notes found, as `dds_fast.datasets.Labels`; names of sources are tracks.

    Example:
        >>> labels = to_labels([Note(0.5, 1.0, source=60, velocity=100)])
        >>> labels.pitches, labels.intervals
        (array([60]), array([[0.5, 1. ]]))
    """
    told = [parts(note.source) for note in notes]
    tracks = [track for track, _ in told]
    return Labels(
        np.array([(note.start, note.end) for note in notes]).reshape(-1, 2),
        np.array([NO_PITCH if pitch is None else pitch for _, pitch in told], dtype=int),
        np.array([note.velocity for note in notes], dtype=float),
        np.array(tracks) if any(tracks) else None,
    )


def write_notes(path: str | Path, notes: Iterable[Note], *, overwrite: bool = False) -> None:
    """Write notes as CSV with the columns ``start_time_s,end_time_s,pitch_midi,velocity``.

    Where sources have names, these are a fifth column, ``source``; drums have no pitch there.

    Raises:
        FileExistsError: the file exists and `overwrite` is false.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "notes.csv"
        ...     write_notes(path, [Note(0.5, 1.0, source=60, velocity=100)])
        ...     path.read_text().splitlines()
        ['start_time_s,end_time_s,pitch_midi,velocity', '0.5000,1.0000,60,100']
    """
    with writing(path, overwrite) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        notes = list(notes)
        named = any(isinstance(note.source, str) for note in notes)
        writer.writerow(NOTE_COLUMNS + ("source",) * named)
        for note in notes:
            span = f"{note.start:.4f}", f"{note.end:.4f}"
            writer.writerow([*span, parts(note.source)[1], note.velocity, *[note.source] * named])


def to_midi(
    notes: Iterable[Note],
    midi: Numbers | None = None,
    *,
    tempo: float = 120.0,
    program: int | str = 0,
) -> pretty_midi.PrettyMIDI:
    """Notes as a track for each instrument and each drum, MIDI numbers as one of a piano.

    Args:
        notes: of one recording.
        midi: notes of drums and programs of instruments, see `notes.general_midi.numbers`; names
            without notes are left out.
        tempo: in beats per minute; notes keep their times.
        program: of sources that are MIDI numbers: its General MIDI number, from 0, or name.

    Raises:
        ValueError: a source is no number from 0 to 127, or a value of `midi` or `program` is none;
            a tempo that is not above 0.

    Example:
        >>> midi = to_midi([Note(0.5, 1.0, source=60, velocity=100)])
        >>> midi.get_end_time(), midi.instruments[0].notes[0].pitch
        (1.0, 60)
    """
    import pretty_midi

    tempo = scalars.positive("tempo", tempo)
    of_pitches = number("program", program, drum=False)
    notes = list(notes)
    sources = in_order(note.source for note in notes)
    names = {parts(source)[0] for source in sources}
    number_of = numbers(sources, {name: v for name, v in (midi or {}).items() if name in names})
    tracks: dict[str, pretty_midi.Instrument] = {}
    for note in sorted(notes, key=lambda note: parts(note.source)[0]):
        instrument, pitch = parts(note.source)
        if instrument not in tracks:
            own = 0 if pitch is None else number_of.get(instrument, of_pitches)
            tracks[instrument] = pretty_midi.Instrument(
                own, is_drum=pitch is None, name=instrument or "dds_fast"
            )
        played = number_of[instrument] if pitch is None else pitch
        if not 0 <= played <= 127:
            raise ValueError(f"source {note.source!r} is not a MIDI number")
        tracks[instrument].notes.append(
            pretty_midi.Note(note.velocity, played, note.start, note.end)
        )
    made = pretty_midi.PrettyMIDI(initial_tempo=tempo)
    made.instruments += tracks.values()
    return made


def write_midi(
    path: str | Path,
    notes: Iterable[Note],
    midi: Numbers | None = None,
    *,
    overwrite: bool = False,
    **options: Any,
) -> None:
    """Write notes as a MIDI file.

    Args:
        path: of the file.
        notes: of one recording.
        midi: as of `to_midi`.
        overwrite: replace an existing file.
        **options: `tempo` and `program`, as of `to_midi`.

    Raises:
        FileExistsError: the file exists and `overwrite` is false.
        ValueError: as of `to_midi`.

    Example:
        >>> import tempfile
        >>> from dds_fast.notes.score import load_labels
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_midi(f"{folder}/notes.mid", [Note(0.5, 1.0, source=60, velocity=100)])
        ...     load_labels(f"{folder}/notes.mid").intervals
        array([[0.5, 1. ]])
    """
    made = to_midi(notes, midi, **options)
    with writing(path, overwrite) as temporary:
        made.write(str(temporary))
