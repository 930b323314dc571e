"""Recordings on their way to their decompositions, cut to the pieces that are searched."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from dds_fast import audio
from dds_fast.arrays import as_numpy
from dds_fast.audio import windows
from dds_fast.audio.recordings import Given
from dds_fast.audio.windows import Window
from dds_fast.decomposition import Decomposition, source_activations
from dds_fast.dictionary import Dictionary
from dds_fast.search import Controller, Schedule, SearchSettings, State
from dds_fast.temporal.features import N_SUBFRAMES, features, subframe_span, subframes
from dds_fast.temporal.network import Evidence


class Piece:
    """Frames of a recording that are searched by themselves.

    Attributes:
        X: ``(F, t)`` spectrogram, on the source's device.
        silent: whether nothing sounds in it.
        seconds: its part of the recording.
    """

    def __init__(self, recording: Recording, index: int) -> None:
        self.recording, self.index = recording, index
        self.span = recording.spans[index]
        self.X = recording.given.frames(*self.span)
        self.silent = not bool(self.X.any())
        self.seconds = recording.given.seconds / len(recording.spans)

    @property
    def schedule(self) -> Schedule:
        """That of the recording's settings; what is silent stays as it begins, at zero."""
        settings = self.recording.settings
        return Schedule(settings.step_size, 0 if self.silent else settings.max_steps)


def features_of(
    given: Given, span: tuple[int, int], X: Any, W: Any, H: Any, labels: Any, by_source: Any
) -> tuple[np.ndarray, np.ndarray]:
    """`temporal.features.features` of some frames X of a recording and what was found in them."""
    X = as_numpy(X)
    fine = given.between(*subframe_span(*span), N_SUBFRAMES)
    found = (as_numpy(one) for one in (W, H, labels, by_source))
    fine = subframes(X) if fine is None else fine
    return features(X, fine, audio.expand(X, given.config), *found)


class Recording:
    """A recording on its way to its decomposition, window by window."""

    def __init__(
        self, given: Given, settings: SearchSettings, dictionary: Dictionary, keep_components: bool
    ) -> None:
        self.given, self.settings = given, settings
        self.dictionary, self.keep_components = dictionary, keep_components
        self.n_sources = len(dictionary.sources)
        self.evidence: Evidence | None = None
        self.summed: Tensor | None = None
        rate = given.config.frame_rate
        self.overlap = max(1, round(windows.OVERLAP * rate))
        self.spans = [(0, given.n_frames)]
        if settings.algorithm == "staged":
            length = round(settings.window_seconds * rate)
            self.spans = windows.spans(given.n_frames, length, self.overlap)
        self.windows: list[Window] = []
        self.history: list[float] = []
        self.stop_reasons: list[str] = []
        self.error: Exception | None = None

    @property
    def was_tried(self) -> bool:
        """Whether a window has been searched, or could not be."""
        return self.error is not None or bool(self.windows)

    def pieces(self) -> Iterator[Piece]:
        """Its windows, until the callback stops it, or an error."""
        for index in range(len(self.spans)):
            if self.error is None and "callback" not in self.stop_reasons:
                yield Piece(self, index)

    def add(self, piece: Piece, controller: Controller, state: State, labels: Tensor) -> None:
        """Take what was found in a window."""
        first, end = piece.span
        labels = (labels if state.labels is None else state.labels).to(state.H.device)
        rises, falls = piece.index > 0, piece.index < len(self.spans) - 1
        fade = windows.fade(end - first, self.overlap, rises=rises, falls=falls)
        weights = state.H.new_tensor(fade)
        by_source = source_activations(state.W, state.H, labels, self.n_sources)
        if self.summed is None:
            self.summed = by_source.new_zeros(self.n_sources, self.given.n_frames)
        if self.dictionary.temporal is not None and state.W.ndim == 2:
            evidence = self._hear(piece, state, labels, by_source, fade)
            by_source = by_source * by_source.new_tensor(evidence.probability)
        self.summed[:, first:end] += by_source * weights
        give_back = self.given.kind.give_back
        self.windows.append(
            Window(
                give_back(state.W) if self.keep_components else None,
                give_back(state.H * weights if rises or falls else state.H),
                labels.cpu().numpy(),
                give_back(state.log_likelihoods),
                first,
            )
        )
        self.history += controller.history[1 if self.history else 0 :]
        self.stop_reasons.append("silent" if piece.silent else str(controller.stop_reason))

    def _hear(
        self, piece: Piece, state: State, labels: Tensor, by_source: Tensor, fade: np.ndarray
    ) -> Evidence:
        """What a window says of notes."""
        assert self.dictionary.temporal is not None
        found = self.dictionary.temporal.evidence(
            *features_of(self.given, piece.span, piece.X, state.W, state.H, labels, by_source),
            self.n_sources,
        )
        if self.evidence is None:
            self.evidence = Evidence.nothing(self.n_sources, self.given.n_frames)
        nothing = Evidence.nothing(self.n_sources, len(fade))
        for whole, part, none in zip(
            self.evidence.arrays, found.arrays, nothing.arrays, strict=True
        ):
            whole[:, slice(*piece.span)] += fade * (part - none)
        return found

    def _stop_reason(self) -> str:
        """What stopped a window before its time, if anything did."""
        for reason in ("non-finite", "interrupted", "callback"):
            if reason in self.stop_reasons:
                return reason
        audible = [reason for reason in self.stop_reasons if reason != "silent"]
        return audible[-1] if audible else "silent"

    def result(self, settings: dict[str, Any]) -> Decomposition:
        """The decomposition, of the windows that were searched."""
        given, dictionary, stop_reason = self.given, self.dictionary, self._stop_reason()
        if stop_reason == "silent":
            warnings.warn("the recording is silent: all activations are zero", stacklevel=5)
        return Decomposition(
            tuple(self.windows),
            given.kind.give_back(self.summed),
            sources=dictionary.sources,
            kind=dictionary.kind,
            config=dictionary.spectrogram,
            history=np.array(self.history),
            stop_reason=stop_reason,
            detection=dictionary.detection,
            evidence=self.evidence,
            settings=settings,
            gain=given.gain,
            tuning=given.tuning,
            recording=given.recording,
            samples=given.samples,
            n_samples=given.n_samples,
        )
