"""A dictionary calibrates itself: it learns from mixtures of its own notes what a note is."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from dds_fast import arrays, audio, scalars
from dds_fast.audio import SpectrogramConfig
from dds_fast.audio.recordings import FILE, Given
from dds_fast.datasets import Recording
from dds_fast.datasets.mixtures import LEAD_IN, Played, Take, random_mixture
from dds_fast.decompose import decompose
from dds_fast.decomposition import Decomposition
from dds_fast.dictionary import Dictionary
from dds_fast.metrics import note_scores
from dds_fast.pieces import features_of
from dds_fast.progress import bar
from dds_fast.temporal import states
from dds_fast.temporal.learning import Example, epochs, example, learn
from dds_fast.temporal.network import Evidence, NoteNetwork

N_MIXTURES = 40
FEWEST_MIXTURES = 4
SECONDS = 10.0

HELD_OUT = 0.25
"""Share of the mixtures that thresholds are chosen, and the quality is measured, on."""

SOUNDING = (1.6, 1.2, 0.8, 0.4, 0.0, -0.4, -0.8, -1.2)
STRUCK = (-0.5, 0.0, 0.5, 1.0, 1.5)
"""Offsets of the logits that are tried."""

CURVE = (-3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
"""Sensitivities at which precision and recall are told."""

MOST_TOLD = 6
"""Polyphonies from here on are told together."""

KINSHIP = 8
"""Power of the cosine between two sources' spectra, by which like ones are played together."""

Instrument = Mapping[Any, Iterable[np.ndarray]]
"""Takes by source."""

logger = logging.getLogger("dds_fast")


@dataclass(frozen=True, eq=False)
class _Heard:
    """A mixture, what was played, and what a dictionary's search leaves of it."""

    played: Played
    rows: np.ndarray
    features: np.ndarray


@arrays.isolated()
def calibrate(
    dictionary: Dictionary,
    takes: Instrument | Sequence[Instrument],
    *,
    n_mixtures: int = N_MIXTURES,
    seconds: float = SECONDS,
    random_state: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    """Learn from mixtures of isolated notes how a dictionary's activations become notes.

    The mixtures are decomposed; from three quarters of them a `temporal.network.NoteNetwork` learns
    when a source sounds and when it is struck; on the others its thresholds are chosen, and how
    well notes are found is measured. Minutes on two cores. No labelled recording is needed, and the
    sources may be anything.

    Args:
        dictionary: it is changed: `dictionary.temporal` is set, and the record below is kept as
            ``metadata["calibration"]`` of its kind.
        takes: of one instrument, or a sequence of several, of which each mixture has one: waveforms
            ``(n,)`` at the dictionary's sampling rate by source, one take at least of each of the
            dictionary's sources; best such as it was not learned from.
        n_mixtures: how many mixtures, at least 4.
        seconds: length of each.
        random_state: seed of the mixtures and the network.
        progress: show a progress bar.

    Returns:
        A JSON-like record: "frames" with precision, recall and F1, and the same by number of
        sources that sound; "onset_f1", "onset_offset_f1"; "velocity_correlation" of notes found
        with those played; "curve" of precision and recall by sensitivity; "losses" by epoch.

    Raises:
        ValueError: a source without takes, a silent take, a "dds1" dictionary, too few mixtures,
            or such that last too short or longer than a window of the search.

    Source: docs/transcription.md.

    Example:
        >>> import dds_fast
        >>> t = np.arange(16000) / 16000
        >>> tones = np.exp(-3 * t) * np.sin(2 * np.pi * np.array([[220], [262]]) * t)
        >>> takes = {57: [tones[0]], 60: [tones[1]]}
        >>> config = SpectrogramConfig(n_fft=1024)
        >>> frames = {n: audio.spectrogram(one[0], config).values.T for n, one in takes.items()}
        >>> dictionary = dds_fast.fit(frames, kind="nmf")
        >>> record = calibrate(dictionary, takes, n_mixtures=4, seconds=3)
        >>> record["frames"]["f1"] > 0.5, dictionary.temporal is not None
        (True, True)
    """
    if dictionary.kind == "dds1":
        raise ValueError("a 'dds1' dictionary has a component per frame: it is not calibrated")
    n_mixtures = scalars.integer("n_mixtures", n_mixtures, least=FEWEST_MIXTURES)
    random_state = scalars.integer("random_state", random_state, least=0)
    seconds = scalars.real("seconds", seconds, least=2 * LEAD_IN)
    if seconds > (longest := dictionary.search.window_seconds):
        raise ValueError(f"seconds must be at most {longest:g}, a window of the search")
    config = dictionary.spectrogram
    instruments = [takes] if isinstance(takes, Mapping) else list(takes)
    if not instruments:
        raise ValueError("no takes were given")
    played = [_takes(dictionary, one) for one in instruments]
    kinships = [_kinship(one, config) for one in played]
    # Its activations as they are; the dictionary itself stays as it is until all is learned.
    plain = dictionary.as_kind(dictionary.kind)
    plain.temporal = None
    heard = []
    for index in bar(range(n_mixtures), shown=progress, desc="calibration", unit="mixture"):
        own, kinship = played[index % len(played)], kinships[index % len(played)]
        seed = (random_state, index)
        mixture = random_mixture(own, seconds, config.sr, seed, kinship=kinship)
        heard.append(_heard(plain, *mixture))
    n_held_out = max(1, round(HELD_OUT * n_mixtures))
    examples = [_example(one, config) for one in heard[n_held_out:]]
    if not any(len(one.features) for one in examples):
        raise ValueError("nothing was found in mixtures of these takes: are they the sources'?")
    losses: list[float] = []
    n_epochs = epochs(len(examples))
    with bar(total=n_epochs, shown=progress, desc="calibration", unit="epoch") as shown:

        def report(epoch: int, loss: float) -> None:
            losses.append(round(loss, 5))
            shown.set_postfix_str(f"loss {loss:.3f}", refresh=False)
            shown.update()

        network = learn(examples, random_state, report)
    record = {
        "n_mixtures": n_mixtures,
        "seconds": seconds,
        **_set_thresholds(network, heard[:n_held_out], dictionary),
        "losses": losses,
    }
    dictionary.temporal = network
    dictionary.metadata.setdefault("calibration", {})[dictionary.kind] = record
    frames = record["frames"]
    logger.info(
        "calibrated on %d mixtures of its notes: frame F1 %.3f, onset F1 %.3f",
        *(n_mixtures, frames["f1"], record["onset_f1"]),
    )
    return record


def instruments(
    recordings: Iterable[Recording], sr: int, preferred: Collection[str] = ()
) -> list[Instrument]:
    """Recordings as `calibrate` takes them: one instrument per folder that holds all sources.

    Where some folder does not, all are one.

    Args:
        recordings: see `dds_fast.datasets.find_notes`.
        sr: sampling rate of the waveforms, in Hz.
        preferred: origins; where a source of an instrument has some of them, it has no others.

    Example:
        >>> import tempfile
        >>> from dds_fast.datasets import find_notes, synthetic
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = synthetic.write_instruments(folder, pitches=(60, 64), seconds=0.3)
        ...     found = instruments(find_notes(folder), sr=16000)
        >>> [sorted(one) for one in found]
        [[60, 64], [60, 64]]
    """
    recordings = list(recordings)
    folders: dict[Any, dict[int | str, list[Recording]]] = {}
    for recording in recordings:
        own = folders.setdefault(recording.path.parent, {})
        own.setdefault(recording.source, []).append(recording)
    sources = {recording.source for recording in recordings}
    if not all(own.keys() == sources for own in folders.values()):
        together: dict[int | str, list[Recording]] = {}
        for recording in recordings:
            together.setdefault(recording.source, []).append(recording)
        folders = {None: together}

    def taken(own: list[Recording]) -> list[np.ndarray]:
        chosen = [recording for recording in own if recording.origin in preferred]
        return [audio.load(recording.path, sr) for recording in chosen or own]

    return [
        {source: taken(own) for source, own in by_source.items()} for by_source in folders.values()
    ]


def _takes(dictionary: Dictionary, takes: Instrument) -> list[list[Take]]:
    unknown = [source for source in takes if source not in dictionary.sources]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no source of the dictionary")
    found = []
    for source in dictionary.sources:
        own = []
        for waveform in takes.get(source, ()):
            try:
                own.append(Take.of(arrays.as_numpy(waveform), dictionary.spectrogram.sr))
            except ValueError as error:
                raise ValueError(f"source {source!r}: {error}") from error
        if not own:
            raise ValueError(f"source {source!r} of the dictionary has no takes")
        found.append(own)
    return found


def _kinship(takes: Sequence[Sequence[Take]], config: SpectrogramConfig) -> np.ndarray:
    """``(S, S)``, how like each other the spectra of two sources are; none is like itself."""
    means = []
    for own in takes:
        spectra = [audio.spectrogram(_padded(one.waveform, config), config).values for one in own]
        means.append(np.mean([X.mean(axis=1) for X in spectra], axis=0))
    mean = np.stack(means)
    mean /= np.linalg.norm(mean, axis=1, keepdims=True) + 1e-9
    alike = np.maximum(mean @ mean.T, 0) ** KINSHIP
    np.fill_diagonal(alike, 0)
    return alike


def _padded(waveform: np.ndarray, config: SpectrogramConfig) -> np.ndarray:
    return np.pad(waveform, (0, max(0, config.n_fft - len(waveform))))


def _heard(dictionary: Dictionary, waveform: np.ndarray, played: Played) -> _Heard:
    result: Decomposition = decompose(waveform, dictionary, sr=dictionary.spectrogram.sr)
    (window,) = result.windows
    given = Given(result.config, FILE, recording=result.recording, gain=result.gain)
    rows, found = features_of(
        given,
        (0, result.n_frames),
        given.X,
        *(window.components, window.activations, window.labels, result.source_activations),
    )
    return _Heard(played, rows, found)


def _example(heard: _Heard, config: SpectrogramConfig) -> Example:
    played = heard.played
    return example(heard.rows, heard.features, played.intervals, played.sources, config.frame_rate)


@dataclass(frozen=True, eq=False)
class _Counts:
    """How notes found compare with those played: frames by polyphony, and note scores."""

    frames: np.ndarray
    """``(MOST_TOLD, 3)``: right, wrong and missed frames with so many sources."""
    scores: np.ndarray
    """Onset F1; onset and offset F1."""
    velocities: np.ndarray
    """``(n, 2)`` of notes found: played, and said."""

    @property
    def f1(self) -> float:
        return _rates(self.frames.sum(0))["f1"]


def _rates(counts: np.ndarray) -> dict[str, float]:
    right, wrong, missed = counts.tolist()
    return {
        "precision": right / max(right + wrong, 1),
        "recall": right / max(right + missed, 1),
        "f1": 2 * right / max(2 * right + wrong + missed, 1),
    }


def _counted(
    found: Sequence[tuple[Evidence, Played]], sensitivity: float, n_sources: int, frame_rate: float
) -> _Counts:
    frames, scores = np.zeros((MOST_TOLD, 3)), []
    velocities: list[tuple[float, float]] = []
    for evidence, played in found:
        notes = states.notes(evidence, range(n_sources), frame_rate, sensitivity)
        said = Played(
            np.array([(note.start, note.end) for note in notes]).reshape(-1, 2),
            np.array([note.source for note in notes], dtype=int),
            np.array([note.velocity for note in notes], dtype=float),
        )
        times = np.arange(evidence.sounding.shape[1]) / frame_rate
        true, ours = played.roll(n_sources, times), said.roll(n_sources, times)
        polyphony = true.sum(0)
        for index in range(MOST_TOLD):
            at = polyphony == index + 1 if index < MOST_TOLD - 1 else polyphony > index
            cells = true[:, at], ours[:, at]
            frames[index] += [
                np.sum(cells[0] & cells[1]),
                np.sum(~cells[0] & cells[1]),
                np.sum(cells[0] & ~cells[1]),
            ]
        both = note_scores(played.intervals, played.sources, said.intervals, said.sources)
        scores.append((both["onset_f1"], both["onset_offset_f1"]))
        velocities += _pairs(played, said)
    return _Counts(frames, np.mean(scores, axis=0), np.array(velocities).reshape(-1, 2))


def _pairs(played: Played, said: Played) -> Iterator[tuple[float, float]]:
    """Velocities of the notes found within 50 ms, each less the loudest of its mixture."""
    for (onset, _), source, velocity in zip(
        played.intervals, played.sources, played.velocities, strict=True
    ):
        near = (said.sources == source) & (np.abs(said.intervals[:, 0] - onset) < 0.05)
        if near.any():
            told = said.velocities[near][0] - said.velocities.max()
            yield float(velocity - played.velocities.max()), float(told)


def _set_thresholds(
    network: NoteNetwork, heard: Sequence[_Heard], dictionary: Dictionary
) -> dict[str, Any]:
    """Choose the offsets that find most notes, frames and onsets counting alike; the quality."""
    n_sources, rate = len(dictionary.sources), dictionary.spectrogram.frame_rate
    said = [(network.evidence(one.rows, one.features, n_sources), one.played) for one in heard]

    def counted(offset: tuple[float, float], sensitivity: float = 0.0) -> _Counts:
        sounding, struck = offset
        moved = [
            (replace(one, sounding=one.sounding + sounding, struck=one.struck + struck), played)
            for one, played in said
        ]
        return _counted(moved, sensitivity, n_sources, rate)

    offsets = [(sounding, struck) for sounding in SOUNDING for struck in STRUCK]
    tried = {offset: counted(offset) for offset in offsets}
    best = max(tried, key=lambda offset: tried[offset].f1 + float(tried[offset].scores[0]))
    network.offset.copy_(torch.tensor(best)[:, None])
    chosen = tried[best]
    curve = [(value, _rates(counted(best, value).frames.sum(0))) for value in CURVE]
    pairs = chosen.velocities
    varied = len(pairs) > 2 and bool((pairs.std(axis=0) > 0).all())
    return {
        "offset": list(best),
        "frames": _rates(chosen.frames.sum(0))
        | {"by_polyphony": [_rates(row) if row.any() else None for row in chosen.frames]},
        "onset_f1": float(chosen.scores[0]),
        "onset_offset_f1": float(chosen.scores[1]),
        "velocity_correlation": float(np.corrcoef(pairs.T)[0, 1]) if varied else None,
        "curve": [{"sensitivity": value, **rates} for value, rates in curve],
    }
