"""The one-call API: from a recording to its source activations."""

from __future__ import annotations

import logging
import operator
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dds_fast import windows
from dds_fast.dictionary import PIANO, Dictionary, load
from dds_fast.result import Decomposition, source_activations
from dds_fast.search import Controller, Schedule, Search, SearchSettings, StagedProblem, State
from dds_fast.search.dispatch import PRECISIONS
from dds_fast.search.engines import choose
from dds_fast.search.loop import Callback, run
from dds_fast.search.problem import AnyProblem, dds_problem, latent_rows, nmf_problem
from dds_fast.search.settings import preset_settings
from dds_fast.source import Given, Source, Tuning, read
from dds_fast.windows import Window

logger = logging.getLogger("dds_fast")


def decompose(
    source: Source | Sequence[Source],
    dictionary: Dictionary | str | Path | None = None,
    *,
    sr: float | None = None,
    tuning: Tuning = None,
    n_components: int | None = None,
    max_steps: int | None = None,
    step_size: float | None = None,
    penalty: float | None = None,
    sparsity: float | None = None,
    likelihood: str = "latent",
    preset: str | None = None,
    precision: str = "float32",
    backend: str = "auto",
    device: str | torch.device | None = None,
    random_state: int = 0,
    callback: Callback | None = None,
    progress: bool = False,
    keep_components: bool = True,
) -> Decomposition | list[Decomposition]:
    """Decompose a recording into the sources of a dictionary.

    The dictionary's kind selects the method: "nmf" (over-complete NMF), "dds1", "dds2" or "dds3".

    Args:
        source: path of an audio file; float waveform ``(n,)`` or ``(channels, n)`` with `sr`, as
            NumPy array or torch tensor; a `Spectrogram` whose config equals the dictionary's; or
            a list of these, decomposed into a list of results, on a GPU several at a time.
        dictionary: a `Dictionary`, the path of one, or None for the packaged piano.
        sr: sampling rate of a waveform, in Hz.
        tuning: by how many cents the recording's A lies above 440 Hz (432 Hz: -31.8, 415 Hz:
            -101.3), at most 150 either way, or "auto" to estimate it; it is brought to 440 Hz by
            resampling, and the result's times stay the recording's. An estimate is between -50 and
            50: at 415 Hz it is about -1, and all notes are found a semitone too low. None for as
            it is.
        n_components: K, dictionary entries per source ("dds2" and "dds3" only).
        max_steps: most update steps.
        step_size: initial Adam step size.
        penalty: weight of the likelihood penalty.
        sparsity: weight of the activations' l1 norm (see `SearchSettings`).
        likelihood: "latent" (density of the codes) or "data" (with the log-determinant).
        preset: None for the dictionary's own settings, "paper" for the DDS paper's. Arguments
            given explicitly win over both.
        precision: "float64", "float32", "tf32", "bf16x3" or "bfloat16".
        backend: "auto" or a backend's name.
        device: where to compute; by default a tensor's own device, else a GPU if there is one.
        random_state: seed of the initial activations.
        callback: called after each step with ``{"step", "cost", "step_size"}``; returning False
            stops.
        progress: show a progress bar.
        keep_components: whether the result holds the components (large for "dds1").

    Returns:
        A `Decomposition`, in the source's floating dtype (float32 for paths); or a list of them.
        Ctrl-C returns what was reached so far: a list then ends with the interrupted source.

    Raises:
        FileNotFoundError: no such recording or dictionary.
        ValueError: bad input; the message names the problem and the place.
        RuntimeError: no backend can run the request, with the reasons.
        MemoryError: the search does not fit, with its size and what lowers it.

    Source: DDS paper (arXiv 2211.15524).

    Example:
        >>> import numpy as np
        >>> import dds_fast
        >>> from dds_fast.flows import ConditionalGlow
        >>> flow = ConditionalGlow(2, 64, n_steps=2, width=16, depth=1)
        >>> dictionary = dds_fast.Dictionary.from_flow(flow, sources=[60, 64])
        >>> tone = np.sin(np.arange(8000) / 10)
        >>> result = decompose(tone, dictionary, sr=16000, n_components=2, max_steps=3)
        >>> result.source_activations.shape, result.n_steps, result.stop_reason
        ((2, 126), 3, 'max_steps')
    """
    dictionary = resolve_dictionary(dictionary)
    settings = _settings(
        dictionary,
        preset,
        n_components=n_components,
        max_steps=max_steps,
        step_size=step_size,
        penalty=penalty,
        sparsity=sparsity,
    )
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {PRECISIONS}, not {precision!r}")
    random_state = operator.index(random_state)
    sources = source if isinstance(source, list | tuple) else [source]
    if not sources:
        raise ValueError("the list of sources is empty")
    options = {"likelihood": likelihood, "precision": precision, "random_state": random_state}
    dtype = torch.float64 if precision == "float64" else torch.float32
    recordings: list[_Recording] = []

    def pieces() -> Iterator[_Piece]:
        for one in sources:
            given = read(one, sr, dictionary.spectrogram, tuning)
            recordings.append(_Recording(given, settings, len(dictionary.sources), keep_components))
            bar.total += given.seconds
            yield from recordings[-1].pieces()

    def problem_of(piece: _Piece) -> AnyProblem:
        given = piece.recording.given
        X = given.frames(*piece.span).to(given.device(device), dtype)
        return _problem(X, dictionary, settings, likelihood, random_state)

    with tqdm(total=0.0, disable=not progress, unit="s", bar_format=_BAR) as bar:
        stream = pieces()
        while batch := list(islice(stream, 1)):
            problems = [problem_of(piece) for piece in batch]
            engine = choose(problems[0], precision, backend)
            if callback is None:
                batch += islice(stream, engine.TOGETHER - 1)
                problems += [problem_of(piece) for piece in batch[1:]]
            search = _search(engine, problems, settings, precision, dictionary.kind)
            seconds, before = sum(piece.seconds for piece in batch), bar.n

            def tell(share: float, what: str, before: float = before, s: float = seconds) -> None:
                bar.set_postfix_str(what, refresh=False)
                bar.update(before + share * s - bar.n)

            run(search, callback=callback, progress=tell)
            tell(1.0, "")
            found = zip(batch, search.controllers, search.states(), strict=True)
            for piece, controller, state in found:
                piece.recording.add(piece, controller, state, _labels(dictionary, settings))
            if any(c.stop_reason == "interrupted" for c in search.controllers):
                break
    record = {**asdict(settings), **options}
    results = [recording.result(dictionary, record) for recording in recordings]
    return results if isinstance(source, list | tuple) else results[0]


_BAR = "{l_bar}{bar}| {n:.1f}/{total:.1f} s of sound [{elapsed}<{remaining}{postfix}]"


@dataclass(frozen=True)
class _Piece:
    """Frames of a recording that are searched by themselves."""

    recording: _Recording
    index: int

    @property
    def span(self) -> tuple[int, int]:
        return self.recording.spans[self.index]

    @property
    def seconds(self) -> float:
        return self.recording.given.seconds / len(self.recording.spans)


class _Recording:
    """A recording on its way to its decomposition, window by window."""

    def __init__(
        self, given: Given, settings: SearchSettings, n_sources: int, keep_components: bool
    ) -> None:
        self.given, self.n_sources, self.keep_components = given, n_sources, keep_components
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

    def pieces(self) -> Iterator[_Piece]:
        """Its windows, until the callback stops it."""
        for index in range(len(self.spans)):
            if "callback" not in self.stop_reasons:
                yield _Piece(self, index)

    def add(self, piece: _Piece, controller: Controller, state: State, labels: Tensor) -> None:
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
        give_back = self.given.give_back
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
        self.stop_reasons.append(str(controller.stop_reason))

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
            warnings.warn("the recording is silent: all activations are zero", stacklevel=3)
        return Decomposition(
            tuple(self.windows),
            given.give_back(self.summed),
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


def _search(
    engine: ModuleType,
    problems: Sequence[AnyProblem],
    settings: SearchSettings,
    precision: str,
    kind: str,
) -> Search:
    """Begin the search of some recordings. A silent one stops where it is: at zero."""
    size = sum(search_bytes(problem) for problem in problems)
    n_frames = sum(problem.X.shape[1] for problem in problems)
    logger.info("searching %d frames, keeping about %.2f GiB", n_frames, size / 2**30)
    schedules = [Schedule(settings.step_size, settings.max_steps) for _ in problems]
    try:
        search = engine.search(problems, schedules, precision)
    except (MemoryError, RuntimeError) as error:
        if not _ran_out_of_memory(error):
            raise
        raise MemoryError(_memory_advice(size, kind)) from error
    for problem, controller in zip(problems, search.controllers, strict=True):
        if not bool(problem.X.any()):
            controller.stop_reason = "silent"
    return search


def resolve_dictionary(dictionary: Dictionary | str | Path | None) -> Dictionary:
    """The given dictionary, the one at a path, or the packaged piano for None."""
    if isinstance(dictionary, Dictionary):
        return dictionary
    return load(PIANO if dictionary is None else dictionary)


def _settings(dictionary: Dictionary, preset: str | None, **overrides: Any) -> SearchSettings:
    base = dictionary.search
    if preset is not None:
        base = preset_settings(preset, dictionary.kind, base)
    return base.with_overrides(dictionary.kind, **overrides)


def _problem(
    X: Tensor, dictionary: Dictionary, settings: SearchSettings, likelihood: str, random_state: int
) -> AnyProblem:
    if settings.algorithm == "staged":
        return _staged_problem(X, dictionary, settings, likelihood, random_state)
    if dictionary.kind == "nmf":
        assert dictionary.W is not None
        problem = nmf_problem(X, dictionary.W.to(X), settings.sparsity)
    else:
        problem = dds_problem(
            X,
            dictionary.frozen(X.dtype, X.device),
            dictionary.kind,
            n_sources=len(dictionary.sources),
            n_components=settings.n_components,
            penalty=settings.penalty,
            sparsity=settings.sparsity,
            likelihood=likelihood,
            random_state=random_state,
        )
    return problem if bool(X.any()) else replace(problem, H=torch.zeros_like(problem.H))


def _staged_problem(
    X: Tensor, dictionary: Dictionary, settings: SearchSettings, likelihood: str, random_state: int
) -> StagedProblem:
    n_sources = len(dictionary.sources)
    if dictionary.kind == "nmf":
        assert dictionary.W is not None and dictionary.labels is not None
        return StagedProblem(
            X, settings, n_sources, dictionary.labels.to(X.device), W=dictionary.W.to(X)
        )
    codes = dictionary.start_codes(random_state).to(X)
    Z, n_fixed = latent_rows(codes, dictionary.kind)
    return StagedProblem(
        X,
        settings,
        n_sources,
        torch.arange(n_sources, device=X.device).repeat_interleave(codes.shape[1]),
        flow=dictionary.frozen(X.dtype, X.device),
        Z=Z,
        n_fixed=n_fixed,
        likelihood=likelihood,
    )


def _labels(dictionary: Dictionary, settings: SearchSettings) -> Tensor:
    """``(J,)`` source index of each row of H."""
    if dictionary.labels is not None:
        return dictionary.labels
    return torch.arange(len(dictionary.sources)).repeat_interleave(settings.n_components or 1)


def _ran_out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate" in text


def search_bytes(problem: AnyProblem) -> int:
    """What a search keeps: activations, codes and their Adam moments, entries, what it explains."""
    F, T = problem.X.shape
    if isinstance(problem, StagedProblem):
        J = len(problem.labels)
        n_floats = 2 * J * T + min(J, 2 * F) ** 2 + 6 * J * F + 3 * F * T
    else:
        J = len(problem.H)
        n_entries = J * T if problem.per_frame else J
        n_codes = 0 if problem.flow is None else n_entries
        n_floats = 5 * J * T + 2 * n_entries * F + 4 * n_codes * F
    return n_floats * problem.X.element_size()


def _memory_advice(size: int, kind: str) -> str:
    lower = {
        "nmf": "a dictionary of fewer frames or a shorter recording",
        "dds1": "a shorter recording or as_kind('dds2')",
    }.get(kind, "n_components or a shorter recording")
    return (
        f"out of memory: this {kind} search keeps about {size / 2**30:.1f} GiB; {lower} lowers it"
    )
