"""What a decomposition returns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dds_fast import audio, decomposition_file, scalars
from dds_fast.arrays import as_numpy, concatenated, isolated, zeros_like
from dds_fast.audio import SpectrogramConfig, frequency_ratio, windows
from dds_fast.audio.windows import Window
from dds_fast.notes import found
from dds_fast.notes.found import Detection
from dds_fast.notes.general_midi import Numbers, numbers
from dds_fast.separation import Separation
from dds_fast.temporal import states
from dds_fast.temporal.network import Evidence

if TYPE_CHECKING:
    import pandas
    import pretty_midi
    from matplotlib.axes import Axes

    from dds_fast.audio.masks import Magnitudes, Share
    from dds_fast.audio.samples import Samples
    from dds_fast.notes.score import Labels

    Groups = Mapping[str, Labels | Iterable[int | str]]


@dataclass(eq=False)
class Decomposition:
    """Components, activations and what they mean. Unpacks as ``(components, activations)``.

    Arrays are NumPy arrays, or torch tensors where the source was one. A long recording is searched
    in windows: `components`, `activations`, `labels` and `log_likelihoods` join theirs, which for
    an hour takes gigabytes; nothing else here needs it.

    Attributes:
        windows: what was found, in order; one for a short recording.
        source_activations: ``(S, T)``, activations rescaled by the norms of their components and
            summed per source; of a calibrated dictionary times the probability that the source
            sounds.
        sources: S MIDI numbers or names.
        kind: kind of the dictionary.
        config: the spectrogram's config.
        history: n_steps + 1 costs, the initial one first.
        stop_reason: "max_steps", "converged", "diverged", "interrupted", "callback", "silent" or
            "non-finite".
        detection: what of an activation is a note, None if not calibrated.
        evidence: what speaks for notes; None where the dictionary is not calibrated for that.
        settings: the search settings used.
        gain: factor that brought the recording to the level at which it was decomposed; 1 for a
            spectrogram source.
        tuning: deviation of the recording's A from 440 Hz that was made up for, in cents.
        recording: ``(n,)`` waveform that was decomposed, at its own level; None for a spectrogram
            source and after `load`.
        samples: the recording as it was given, at its own rate, with its channels; None likewise.
        n_samples: length of what was decomposed at ``config.sr``, None for a spectrogram source.
        score: the notes that informed the decomposition, aligned if it asked for that; None
            without a score and after `load`.

    Example:
        >>> import dds_fast
        >>> C, E = np.eye(512)[[15, 19]]  # spectra of two sources
        >>> dictionary = dds_fast.fit({60: C[None], 64: E[None]}, kind="nmf")
        >>> X = np.outer(C, np.arange(20) < 10) + np.outer(E, np.arange(20) >= 10)
        >>> result = dds_fast.decompose(dds_fast.Spectrogram(X, dictionary.spectrogram), dictionary)
        >>> W, H = result
        >>> W.shape, H.shape, result.source_activations.argmax(0)[[0, 19]]
        ((512, 2), (2, 20), array([0, 1]))
        >>> [note.source for note in result.notes()]
        [60, 64]
    """

    windows: tuple[Window, ...]
    source_activations: Any
    sources: tuple[int | str, ...]
    kind: str
    config: SpectrogramConfig
    history: np.ndarray
    stop_reason: str
    detection: Detection | None = None
    evidence: Evidence | None = field(default=None, repr=False)
    settings: dict[str, Any] = field(default_factory=dict)
    gain: float = 1.0
    tuning: float = 0.0
    recording: np.ndarray | None = field(default=None, repr=False)
    samples: Samples | None = field(default=None, repr=False)
    n_samples: int | None = None
    score: Labels | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        shown = f"{len(self.sources)} source{'s' * (len(self.sources) > 1)}"
        shown += f" {self.sources[0]}..{self.sources[-1]}" * (len(self.sources) > 1)
        return (
            f"<{type(self).__name__}: {self.duration:.2f} s in {self.n_frames} frames, {self.kind} "
            f"of {shown}, {self.n_steps} steps ({self.stop_reason})>"
        )

    def __iter__(self) -> Iterator[Any]:
        yield self.components
        yield self.activations

    @property
    def components(self) -> Any:
        """W after clipping, ``(F, J)``; ``(S, F, T)`` for dds1; None if dropped."""
        return concatenated([window.components for window in self.windows], axis=1)

    @property
    def activations(self) -> Any:
        """H after clipping, ``(J, T)``, not rescaled."""
        return windows.joined(self.windows, self.n_frames)

    @property
    def labels(self) -> np.ndarray:
        """``(J,)`` index of each component's source."""
        return concatenated([window.labels for window in self.windows], axis=0)

    @property
    def log_likelihoods(self) -> Any:
        """Nats per dimension of each component as used in the objective, ``(J,)``; ``(S, T)`` for
        dds1; None for nmf."""
        return concatenated([window.log_likelihoods for window in self.windows], axis=0)

    @property
    def stft(self) -> np.ndarray | None:
        """``(F + 1, T)`` complex STFT of the recording at its own level; None without one."""
        return None if self.recording is None else audio.stft(self.recording, self.config)

    @property
    def n_frames(self) -> int:
        """T."""
        return self.source_activations.shape[1]

    @property
    def n_steps(self) -> int:
        """Update steps done."""
        return len(self.history) - 1

    @property
    def duration(self) -> float:
        """Of what was decomposed, in seconds of the recording."""
        if self.n_samples is None:
            return self.n_frames / self.frame_rate
        return self.n_samples / self.config.sr / frequency_ratio(self.tuning)

    @property
    def frame_rate(self) -> float:
        """Frames per second of the recording."""
        return self.config.frame_rate * frequency_ratio(self.tuning)

    @property
    def times(self) -> np.ndarray:
        """``(T,)`` frame centres in seconds of the recording."""
        return self.config.times(self.n_frames) / frequency_ratio(self.tuning)

    @property
    def frequencies(self) -> np.ndarray:
        """``(F,)`` bin centres in Hz, of the recording brought to A = 440 Hz."""
        return self.config.frequencies

    @isolated()
    def reconstruction(self) -> Any:
        """``(F, T)`` approximation of the spectrogram that was decomposed, W H.

        Raises:
            ValueError: the components were dropped.
        """
        if len(self.windows) == 1:
            return self.windows[0].approximation()
        total = zeros_like(self.source_activations, self.config.n_features, self.n_frames)
        for window in self.windows:
            total[:, window.frames] += window.approximation()
        return total

    def without_components(self) -> Decomposition:
        """The same with the components dropped."""
        dropped = tuple(replace(window, components=None) for window in self.windows)
        return replace(self, windows=dropped)

    def note_detection(self) -> Detection:
        """The calibrated detection, else one relative to the strongest source activation."""
        return self.detection or Detection.uncalibrated(as_numpy(self.source_activations))

    def notes(
        self,
        *,
        sensitivity: float = 0.0,
        upper: float | None = None,
        lower: float | None = None,
        min_duration: float | None = None,
        max_gap: float | None = None,
    ) -> list[found.Note]:
        """The notes found.

        A calibrated dictionary's are those that the evidence speaks for, see
        `dds_fast.temporal.states`. Otherwise, or where a threshold is given, a note is where source
        activations exceed `lower` and somewhere reach `upper`.

        Args:
            sensitivity: of a calibrated dictionary: above 0 more notes are found, below 0 fewer; in
                log odds.
            upper: as of `notes.found.Detection`; what is None is that of `note_detection()`.
            lower: likewise.
            min_duration: likewise, in seconds.
            max_gap: likewise, in seconds.

        Returns:
            Notes sorted by start; see `dds_fast.notes.found.Note`.

        Raises:
            ValueError: a value that is negative or not finite, `lower` above `upper`, or a
                sensitivity beside thresholds or of a dictionary that is not calibrated.
        """
        sensitivity = scalars.real("sensitivity", sensitivity)
        asked: dict[str, Any] = {
            "upper": upper,
            "lower": lower,
            "min_duration": min_duration,
            "max_gap": max_gap,
        }
        given = {name: value for name, value in asked.items() if value is not None}
        if self.evidence is not None and not given:
            return states.notes(self.evidence, self.sources, self.frame_rate, sensitivity)
        if sensitivity:
            raise ValueError(
                "sensitivity is that of a calibrated dictionary: "
                + ("pass thresholds or sensitivity" if given else "this one has thresholds")
            )
        return found.find_notes(
            as_numpy(self.source_activations),
            self.sources,
            self.frame_rate,
            replace(self.note_detection(), **given),
        )

    def to_midi(
        self,
        midi: Numbers | None = None,
        *,
        tempo: float = 120.0,
        program: int | str = 0,
        **options: Any,
    ) -> pretty_midi.PrettyMIDI:
        """The notes as a MIDI file, a track for each instrument.

        Args:
            midi: notes of drums and programs of instruments where their names do not tell them, see
                `dds_fast.notes.general_midi.numbers`.
            tempo: in beats per minute; notes keep their times.
            program: of sources that are MIDI numbers: its General MIDI number, from 0, or name.
            **options: as for `notes`.

        Raises:
            ValueError: `midi` names no source, or is no MIDI number; nor is `program`; a tempo that
                is not above 0.
        """
        of_names = numbers(self.sources, midi)
        return found.to_midi(self.notes(**options), of_names, tempo=tempo, program=program)

    def to_frame(self, **options: Any) -> pandas.DataFrame:
        """The notes as a DataFrame: start and end in seconds, source, velocity, MIDI number.

        Args:
            **options: as for `notes`.

        Raises:
            ImportError: pandas is not installed.
        """
        from dds_fast.notes.note_frame import to_frame

        return to_frame(self.notes(**options))

    def to_mir_eval(self, **options: Any) -> tuple[np.ndarray, np.ndarray]:
        """The notes that have a pitch as ``mir_eval.transcription`` takes them.

        Args:
            **options: as for `notes`.

        Returns:
            Intervals ``(n, 2)`` in seconds, and pitches ``(n,)`` in Hz.
        """
        from dds_fast.notes.note_frame import to_mir_eval

        return to_mir_eval(self.notes(**options))

    def sonify(self, **options: Any) -> np.ndarray:
        """The notes as sound: ``(n,)`` at ``config.sr``, as long as what was decomposed.

        Args:
            **options: as for `notes`.
        """
        from dds_fast.notes.sonification import sonify

        return sonify(self.notes(**options), round(self.duration * self.config.sr), self.config.sr)

    def save_notes(
        self,
        path: str | Path,
        *,
        midi: Numbers | None = None,
        tempo: float = 120.0,
        program: int | str = 0,
        overwrite: bool = False,
        **options: Any,
    ) -> None:
        """Write the notes in the format that the suffix of a path tells.

        ``.csv``; ``.mid``, a MIDI file; ``.jams``; ``.txt``, labels for Audacity; ``.svl``, a layer
        for Sonic Visualiser; ``.wav``, `sonify` on the right and the recording, where it is known,
        on the left.

        Args:
            path: of the file.
            midi: as of `to_midi`, likewise for the layer.
            tempo: as of `to_midi`.
            program: likewise.
            overwrite: replace an existing file.
            **options: as for `notes`.

        Raises:
            FileExistsError: the file exists and `overwrite` is false.
            ValueError: another suffix; as of `to_midi`.
        """
        from dds_fast.notes import note_formats

        samples = self.samples
        about = note_formats.About(self.duration, note_formats.SR)
        if samples is not None:
            mono = partial(samples.converted, mono=True)
            about = note_formats.About(self.duration, samples.sr, lambda: mono().waveform)
        note_formats.write(
            Path(path),
            self.notes(**options),
            numbers(self.sources, midi),
            about,
            tempo=tempo,
            program=program,
            overwrite=overwrite,
        )

    def plot(
        self, ax: Axes | None = None, *, notes: bool | Sequence[found.Note] = True, **options: Any
    ) -> Axes:
        """Draw the source activations as a piano-roll, by default with the notes found in them.

        Args:
            ax: where to draw; by default a new figure.
            notes: whether to draw the notes; or those to draw.
            **options: for `dds_fast.plots.piano_roll`.
        """
        from dds_fast import plots

        options.setdefault("threshold", self.note_detection().upper)
        return plots.piano_roll(
            as_numpy(self.source_activations),
            self.sources,
            self.times,
            notes=self.notes() if notes is True else notes or (),
            ax=ax,
            **options,
        )

    def separate(
        self,
        groups: Groups | None = None,
        *,
        only: str | None = None,
        target_sr: float | None = None,
        mono: bool = False,
    ) -> Separation:
        """Stems: waveforms that sum to the recording, at its own rate and of all its channels.

        Masks on linear magnitudes, from each source's part of the reconstruction, the same for all
        channels; the recording's phase.

        Args:
            groups: what makes a stem, by its name: sources (sources in no group make a stem
                "rest"), or notes (`dds_fast.datasets.Labels`), to which the activations of their
                pitches belong while they sound or ring on; see `dds_fast.notes.grouping`. By
                default every source is one.
            only: the name of a stem; all others are one, "rest".
            target_sr: another sampling rate for the stems, in Hz.
            mono: average the recording's channels first.

        Returns:
            A `Separation`, by name of the stem, or by source.

        Raises:
            ValueError: the recording's phase is not known (a spectrogram source, or a loaded
                result), or the components were dropped; no groups, unknown sources, or a source in
                two groups.
        """
        from dds_fast.audio.samples import Samples
        from dds_fast.audio.stems import Stems

        if (samples := self.samples) is None and self.recording is not None:
            samples = Samples.of_array(self.recording, self.config.sr)
        if samples is None:
            raise ValueError(
                "separate() needs the recording's phase: decompose a path or a waveform, not a "
                "Spectrogram, and separate before saving"
            )
        names, shares = self._shares(groups, only)
        stems = Stems(
            self._magnitudes(shares),
            len(names),
            samples.converted(sr=target_sr, mono=mono),
            self.config,
            self.n_frames,
            self.tuning,
        )
        return Separation(
            names,
            stems,
            stems.samples.sr,
            notes=partial(self._notes_of_stems, names, shares),
            score=self.score,
        )

    def to_html(
        self,
        path: str | Path,
        groups: Groups | None = None,
        *,
        title: str | None = None,
        overwrite: bool = False,
    ) -> None:
        """Write a page to listen to the stems of `separate` and see their notes.

        Args:
            path: of the HTML file.
            groups: as for `separate`.
            title: as for `Separation.to_html`.
            overwrite: replace an existing file.

        Raises:
            FileExistsError: the file exists and `overwrite` is false.
            ValueError: as for `separate`.
        """
        self.separate(groups).to_html(path, title=title, overwrite=overwrite)

    def masks(self, groups: Groups | None = None) -> dict[int | str, np.ndarray]:
        """The ``(F, T)`` masks of `separate`, by name of the stem; they sum to one.

        Args:
            groups: as for `separate`.
        """
        from dds_fast.audio import masks

        names, shares = self._shares(groups)
        magnitudes = np.stack(list(self._magnitudes(shares)(0, self.n_frames)))
        return dict(zip(names, masks.masks(magnitudes), strict=True))

    def _magnitudes(self, shares: Sequence[Share]) -> Magnitudes:
        from dds_fast.audio import masks

        windows = [window.map(as_numpy) for window in self.windows]
        if any(window.components is None for window in windows):
            raise ValueError("the components were dropped (keep_components=False)")
        return masks.stem_magnitudes(windows, shares, self.config)

    def _shares(
        self, groups: Groups | None, only: str | None = None
    ) -> tuple[list[Any], list[Share]]:
        from dds_fast.audio import masks

        given = {source: [source] for source in self.sources} if groups is None else groups
        lead = 0.5 * self.config.n_fft / self.config.sr
        names, shares = masks.stem_shares(given, self.sources, self.times, lead)
        return (names, shares) if only is None else masks.only(only, names, shares)

    def _notes_of_stems(
        self, names: Sequence[Any], shares: Sequence[Share]
    ) -> list[tuple[Any, found.Note]]:
        """The notes found, each with the stem that has most of it."""
        frames = [
            (note, self.sources.index(note.source), *self._frames_of(note)) for note in self.notes()
        ]
        owned = [
            [float(share.of_source(row, first, end).mean()) for share in shares]
            for _, row, first, end in frames
        ]
        return [
            (names[int(np.argmax(parts))], note)
            for (note, *_), parts in zip(frames, owned, strict=True)
        ]

    def _frames_of(self, note: found.Note) -> tuple[int, int]:
        first = min(int(note.start * self.frame_rate), self.n_frames - 1)
        return first, max(first + 1, int(note.end * self.frame_rate))

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write a compressed ``.npz`` (no pickle), all but the recording and the score.

        Raises:
            FileExistsError: the file exists and `overwrite` is false.
        """
        told = {"times": self.times, "frequencies": self.frequencies}
        decomposition_file.save(vars(self) | told, path, overwrite)

    @classmethod
    def load(cls, path: str | Path) -> Decomposition:
        """Read what `save` wrote; no code is executed.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file is truncated or is not a saved decomposition.
        """
        return cls(**decomposition_file.load(path))


def source_activations(components: Any, activations: Any, labels: Any, n_sources: int) -> Any:
    """Rescale activations by the norms of their components and sum them per source.

    A component of zero norm counts as having norm 1 (DDS paper, section IV-D).

    Args:
        components: torch tensor, ``(F, J)`` or ``(S, F, T)``.
        activations: torch tensor, ``(J, T)`` or ``(S, T)``, non-negative.
        labels: ``(J,)`` tensor, source index of each row of `activations`.
        n_sources: S.

    Returns:
        ``(S, T)`` tensor.

    Example:
        >>> import torch
        >>> W, H = torch.tensor([[3.0, 0.0], [4.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.5, 2.0]])
        >>> source_activations(W, H, torch.tensor([0, 0]), n_sources=1)
        tensor([[5.5000, 2.0000]])
    """
    norms = components.norm(dim=-2)
    norms = norms.masked_fill(norms == 0, 1)
    rescaled = activations * (norms if norms.ndim == 2 else norms[:, None])
    return rescaled.new_zeros(n_sources, rescaled.shape[1]).index_add_(0, labels, rescaled)
