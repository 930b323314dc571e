"""Recordings on their way to their decompositions, cut to the pieces that are searched."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from dds_fast.audio import windows
from dds_fast.audio.recordings import Given
from dds_fast.audio.windows import Window
from dds_fast.decomposition import Decomposition, source_activations
from dds_fast.dictionary import Dictionary
from dds_fast.search import Controller, Schedule, SearchSettings, State


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


class Recording:
    """A recording on its way to its decomposition, window by window."""

    def __init__(
        self, given: Given, settings: SearchSettings, n_sources: int, keep_components: bool
    ) -> None:
        self.given, self.settings = given, settings
        self.n_sources, self.keep_components = n_sources, keep_components
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
        H = state.H
        if rises or falls:
            fade = windows.fade(end - first, self.overlap, rises=rises, falls=falls)
            H = H * H.new_tensor(fade)
        if self.summed is None:
            self.summed = H.new_zeros(self.n_sources, self.given.n_frames)
        self.summed[:, first:end] += source_activations(state.W, H, labels, self.n_sources)
        give_back = self.given.kind.give_back
        self.windows.append(
            Window(
                give_back(state.W) if self.keep_components else None,
                give_back(H),
                labels.cpu().numpy(),
                give_back(state.log_likelihoods),
                first,
            )
        )
        self.history += controller.history[1 if self.history else 0 :]
        self.stop_reasons.append("silent" if piece.silent else str(controller.stop_reason))

    def _stop_reason(self) -> str:
        """What stopped a window before its time, if anything did."""
        for reason in ("non-finite", "interrupted", "callback"):
            if reason in self.stop_reasons:
                return reason
        audible = [reason for reason in self.stop_reasons if reason != "silent"]
        return audible[-1] if audible else "silent"

    def result(self, dictionary: Dictionary, settings: dict[str, Any]) -> Decomposition:
        """The decomposition, of the windows that were searched."""
        given, stop_reason = self.given, self._stop_reason()
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
            settings=settings,
            gain=given.gain,
            tuning=given.tuning,
            recording=given.recording,
            n_samples=given.n_samples,
        )
