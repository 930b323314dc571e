"""Score-informed decomposition: NMF whose factors start, and so stay, where a score allows.

Zeros of a factor stay zero under multiplicative updates. Templates are zero away from the partials
of their pitch, activations away from the notes of the score (docs/method.md, Relatives).
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dds_fast import arrays, nmf, scalars
from dds_fast.audio import SpectrogramConfig, alignment
from dds_fast.audio.recordings import Given, Source, read
from dds_fast.audio.synchronization import warped
from dds_fast.audio.windows import Window
from dds_fast.choices import ALIGNMENTS, CONSTRAINTS
from dds_fast.decomposition import Decomposition, source_activations
from dds_fast.notes.names import NO_PITCH
from dds_fast.notes.score import Labels, load_labels

CONFIG = SpectrogramConfig(gamma=0, window="sqrt_hann")
"""Linear magnitudes: parts of a mixture add up, as the model has it."""

HIGHEST_SR = 48000
"""Above, nothing is heard."""

NOTE_TOLERANCE = (0.2, 0.5)
ONSET_TOLERANCE = (0.3, 0.1)
"""Seconds before and after."""

PITCH_TOLERANCE = 0.05
ONSET_LEVEL = 0.1

FACTORIZATION = {
    "loss": "kl",
    "sparsity": 0.0,
    "n_steps": 100,
    "tolerance": 0.0,
    "random_state": 0,
}
"""Options of `nmf.factorize` that a decomposition keeps with its result."""


def full_band(sr: float) -> SpectrogramConfig:
    """`CONFIG` for recordings of another sampling rate in Hz: its whole band, frames as long.

    What lies above 24 kHz is left out.

    Example:
        >>> full_band(44100)
        SpectrogramConfig(sr=44100, n_fft=5644, hop=1411, gamma=0.0, window='sqrt_hann')
    """
    sr = min(round(sr), HIGHEST_SR)
    n_fft = max(4, 2 * round(CONFIG.n_fft * sr / CONFIG.sr / 2))
    return replace(CONFIG, sr=sr, n_fft=n_fft, hop=n_fft * CONFIG.hop // CONFIG.n_fft)


def harmonic_templates(
    pitches: np.ndarray, config: SpectrogramConfig, *, tolerance: float = PITCH_TOLERANCE
) -> np.ndarray:
    """``(F, R)`` templates, ``1 / m`` around the m-th partial of each pitch and zero elsewhere.

    Args:
        pitches: ``(R,)`` MIDI numbers.
        config: of the spectrogram.
        tolerance: how far a partial may lie from its place, as a share of its frequency. Where
            partials overlap, the higher one counts.

    Source: Müller, FMP notebooks, C8S3_NMFSpecFac.

    Example:
        >>> W = harmonic_templates(np.array([69]), SpectrogramConfig(n_fft=1024))
        >>> W[27:30, 0], W[20, 0]  # bin 27 lies at 437.5 Hz
        (array([1., 1., 0.]), np.float64(0.0))
    """
    resolution = config.sr / config.n_fft
    W = np.zeros((config.n_features + 1, len(pitches)))
    for column, pitch in enumerate(pitches):
        frequency = 440 * 2 ** ((pitch - 69) / 12)
        n_partials = int(np.ceil(len(W) * resolution / ((1 - tolerance) * frequency)))
        for m in range(1, n_partials + 1):
            first = int((1 - tolerance) * m * frequency / resolution)
            last = int((1 + tolerance) * m * frequency / resolution)
            W[first : last + 1, column] = 1 / m
    return W[1:]


def activation_windows(
    labels: Labels,
    pitches: np.ndarray,
    n_frames: int,
    config: SpectrogramConfig,
    *,
    tolerance: tuple[float, float] = NOTE_TOLERANCE,
    onsets: bool = False,
) -> np.ndarray:
    """``(R, T)`` ones where a note of each pitch may sound, zeros elsewhere.

    Args:
        labels: the notes.
        pitches: ``(R,)`` MIDI number of each row.
        n_frames: T.
        config: of the spectrogram.
        tolerance: seconds before a note's onset and after its offset.
        onsets: windows around the onsets alone, the tolerance before and after them.

    Source: Müller, FMP notebooks, C8S3_NMFSpecFac and C8S3_NMFAudioDecomp (docs/method.md,
    Relatives).

    Example:
        >>> labels = Labels(np.array([[0.5, 1.0]]), np.array([69]), np.array([64.0]))
        >>> config = SpectrogramConfig(hop=1600)  # ten frames per second
        >>> activation_windows(labels, np.array([69]), 20, config, tolerance=(0.1, 0.2))[0, 2:13]
        array([0., 0., 1., 1., 1., 1., 1., 1., 1., 1., 0.])
    """
    H = np.zeros((len(pitches), n_frames))
    before, after = tolerance
    for (onset, offset), pitch in zip(labels.intervals, labels.pitches, strict=True):
        first = int((onset - before) * config.frame_rate)
        end = int(((onset if onsets else offset) + after) * config.frame_rate)
        H[pitches == pitch, max(0, first) : max(0, end)] = 1
    return H


@dataclass(frozen=True)
class ScoreConstraints:
    """What a score allows a decomposition.

    Attributes:
        kind: what it constrains: "templates" (partials of its pitches), "activations" (when they
            may sound) or "both".
        note_tolerance: seconds by which a note may begin early and ring on.
        onset_tolerance: likewise of an attack, before and after the onset.
        pitch_tolerance: width of a partial on either side, as a share of its frequency.

    Raises:
        ValueError: unknown `kind`.

    Example:
        >>> ScoreConstraints("templates", pitch_tolerance=0.03).kind
        'templates'
    """

    kind: str = "both"
    note_tolerance: tuple[float, float] = NOTE_TOLERANCE
    onset_tolerance: tuple[float, float] = ONSET_TOLERANCE
    pitch_tolerance: float = PITCH_TOLERANCE

    def __post_init__(self) -> None:
        if self.kind not in CONSTRAINTS:
            raise ValueError(f"constraints must be one of {CONSTRAINTS}, not {self.kind!r}")
        checked = {
            "note_tolerance": scalars.pair("note_tolerance", self.note_tolerance),
            "onset_tolerance": scalars.pair("onset_tolerance", self.onset_tolerance),
            "pitch_tolerance": scalars.not_negative("pitch_tolerance", self.pitch_tolerance),
        }
        self.__dict__.update(checked)  # frozen, but plain numbers from here on

    def factors(
        self,
        labels: Labels,
        pitches: np.ndarray,
        n_frames: int,
        config: SpectrogramConfig,
        onset_templates: bool = False,
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Where W ``(F, R)`` and H ``(R, T)`` start, None where nothing binds them.

        With onset templates each pitch has two rows, that of its attack before that of its
        partials.

        Raises:
            ValueError: onset templates, but free activations.
        """
        W = H = None
        if self.kind != "activations":
            W = harmonic_templates(pitches, config, tolerance=self.pitch_tolerance)
        if self.kind != "templates":
            windows = partial(activation_windows, labels, pitches, n_frames, config)
            H = windows(tolerance=self.note_tolerance)
        if not onset_templates:
            return W, H
        if H is None:
            raise ValueError(
                "onset templates need constrained activations: 'activations' or 'both'"
            )
        attacks = windows(tolerance=self.onset_tolerance, onsets=True)
        H = np.stack([attacks, H], axis=1).reshape(2 * len(H), n_frames)
        if W is not None:
            W = np.stack([np.full_like(W, ONSET_LEVEL), W], axis=2).reshape(len(W), -1)
        return W, H


@arrays.isolated()
def decompose(
    source: Source,
    score: Labels | str | Path,
    *,
    sr: float | None = None,
    constraints: str | ScoreConstraints = "both",
    onset_templates: bool = False,
    align: bool | str = False,
    config: SpectrogramConfig = CONFIG,
    device: str | torch.device | None = None,
    **options: Any,
) -> Decomposition:
    """Decompose a recording into the pitches of its score.

    Args:
        source: path of an audio file; float waveform ``(n,)`` or ``(channels, n)`` with `sr`; or a
            `Spectrogram` with the given config (which has no stems, and cannot be aligned).
        score: the notes, or the path of a MIDI file or note list (see `load_labels`).
        sr: sampling rate of a waveform, in Hz.
        constraints: what the score constrains: "templates", "activations" or "both"; or a
            `ScoreConstraints`.
        onset_templates: give each pitch a second template for its attack, not bound to partials but
            to the onsets of its notes.
        align: warp the score to the recording first: True or "dtw", see
            `dds_fast.audio.alignment.align`; or "synctoolbox", which is finer, and an extra
            (``sync``).
        config: the spectrogram.
        device: where to compute.
        **options: tolerances of `ScoreConstraints`; and of `dds_fast.nmf.factorize` `loss` (by
            default "kl"), `n_steps` (100), `tolerance` (0), `sparsity`, `random_state`, `backend`,
            `progress`.

    Returns:
        A `Decomposition` whose sources are the pitches of the score; with onset templates each has
        two components, the attack before the partials. How well the score fits is
        ``settings["fit"]``, see `dds_fast.audio.alignment.fit` (None for few notes, or a
        Spectrogram).

    Raises:
        FileNotFoundError: no such recording or score.
        ImportError: synctoolbox is asked for and not installed, or partitura for a printed score.
        ValueError: bad input; an empty score, or one of which no note lies within the recording.

    Warns:
        UserWarning: some notes lie outside the recording, or the score does not fit it.

    Source: Ewert and Müller, Using score-informed constraints for NMF-based source separation,
    ICASSP 2012; Müller, Fundamentals of Music Processing, section 8.3.

    Example:
        >>> t = np.arange(16000) / 16000
        >>> tone = np.sin(2 * np.pi * 440 * t)
        >>> score = Labels(np.array([[0.0, 1.0]]), np.array([69]), np.array([64.0]))
        >>> result = decompose(tone, score, sr=16000, n_steps=10)
        >>> result.sources, result.n_steps
        ((69,), 10)
    """
    if isinstance(constraints, str):
        named = {field.name for field in fields(ScoreConstraints)} & options.keys()
        constraints = ScoreConstraints(constraints, **{name: options.pop(name) for name in named})
    options = {name: scalars.plain(value) for name, value in (FACTORIZATION | options).items()}
    given = read(source, sr, config)
    X = given.X.to(arrays.device(device, given.kind.device))
    silent = not bool(X.any())
    labels = score if isinstance(score, Labels) else load_labels(score)
    method = _method(align)
    labels, fit = _placed(labels, given, method, silent)
    pitches = np.unique(labels.pitches)
    W, H = constraints.factors(labels, pitches, X.shape[1], config, onset_templates)
    rows = np.arange(len(pitches)).repeat(2 if onset_templates else 1)
    if silent:
        warnings.warn("the recording is silent: all activations are zero", stacklevel=3)
    result = nmf.factorize(
        X,
        len(rows),
        W=None if W is None else torch.from_numpy(W).to(X),
        H=None if H is None else torch.from_numpy(H).to(X) * _level(X),
        check_every=1,
        **options | ({"n_steps": 0} if silent else {}),
    )
    activations = torch.zeros_like(result.H) if silent else result.H
    index = torch.from_numpy(rows).to(X.device)
    summed = source_activations(result.W, activations, index, len(pitches))
    give_back = given.kind.give_back
    window = Window(give_back(result.W), give_back(activations), rows)
    settings = asdict(constraints) | {name: options[name] for name in FACTORIZATION}
    return Decomposition(
        (window,),
        give_back(summed),
        sources=tuple(int(pitch) for pitch in pitches),
        kind="score_informed",
        config=config,
        history=np.array(result.history),
        stop_reason="silent" if silent else result.stop_reason,
        settings={
            "constraints": settings.pop("kind"),
            "onset_templates": scalars.flag("onset_templates", onset_templates),
            "align": method or False,
            "fit": fit,
            **settings,
        },
        gain=given.gain,
        recording=given.recording,
        samples=given.samples,
        n_samples=given.n_samples,
        score=labels,
    )


def _method(align: bool | str) -> str | None:
    """How to align, by the argument."""
    if isinstance(align, str):
        if align not in ALIGNMENTS:
            raise ValueError(f"align must be True, False or one of {ALIGNMENTS}, not {align!r}")
        return align
    return ALIGNMENTS[0] if scalars.flag("align", align) else None


def _placed(
    labels: Labels, given: Given, method: str | None, silent: bool
) -> tuple[Labels, float | None]:
    """The notes that lie within a recording, in its own time if asked, and how well they fit."""
    if len(labels) == 0:
        raise ValueError("the score holds no notes")
    if NO_PITCH in labels.pitches:
        raise ValueError("the score holds drums: templates are made of pitches")
    stft, config = given.stft, given.config
    if method is not None:
        if stft is None or given.recording is None:
            raise ValueError("a score is aligned to a recording, not to a Spectrogram")
        if method == "synctoolbox":
            intervals = warped(labels.intervals, labels.pitches, given.recording, config.sr)
            labels = replace(labels, intervals=intervals)
        else:
            labels = alignment.align(labels, stft, config)
    labels = _inside(labels, given.seconds)
    if stft is None or silent:
        return labels, None
    return labels, alignment.check_fit(labels, stft, config)


def _level(X: torch.Tensor) -> torch.Tensor:
    """A start of the activations at which W H is about as loud as X."""
    return X.max().clamp_min(torch.finfo(X.dtype).tiny)


def _inside(labels: Labels, duration: float) -> Labels:
    """The notes that lie within a recording, with a warning about the others."""
    inside = (labels.intervals[:, 0] < duration) & (labels.intervals[:, 1] > 0)
    if not inside.any():
        raise ValueError(
            f"no note of the score lies within the recording of {duration:.1f} s: the first begins "
            f"at {labels.intervals[:, 0].min():.1f} s"
        )
    if not inside.all():
        warnings.warn(
            f"{int((~inside).sum())} of {len(labels)} notes lie outside the recording of "
            f"{duration:.1f} s and are left out; the first begins at "
            f"{labels.intervals[~inside][0, 0]:.1f} s",
            stacklevel=4,
        )
    return labels.select(inside)
