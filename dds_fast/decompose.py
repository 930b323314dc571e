"""The one-call API: from a recording to its source activations."""

from __future__ import annotations

import logging
import operator
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dds_fast.dictionary import PIANO, Dictionary, load
from dds_fast.methods import PAPER, SearchSettings, dds, nmf
from dds_fast.methods.solver import Callback, Solved, n_together, solve, solve_together
from dds_fast.ops.dispatch import PRECISIONS
from dds_fast.ops.update_step import Problem, Schedule
from dds_fast.result import Decomposition, source_activations
from dds_fast.source import Given, Source, Tuning, read

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

    def spectrum(given: Given) -> Tensor:
        return given.X.to(given.device(device), dtype)

    results: list[Decomposition] = []
    while len(results) < len(sources):
        given = read(sources[len(results)], sr, dictionary.spectrogram, tuning)
        batch = [given]
        if callback is None and dictionary.kind != "nmf":
            X = spectrum(given)
            flow = dictionary.frozen(X.dtype, X.device)
            n = n_together(X, flow, precision=precision, backend=backend)
            for other in sources[len(results) + 1 : len(results) + n]:
                batch.append(read(other, sr, dictionary.spectrogram, tuning))
        steps = _search(
            [spectrum(given) for given in batch],
            dictionary,
            settings,
            **options,
            backend=backend,
            callback=callback,
            progress=progress,
        )
        results += [
            _result(given, step, dictionary, settings, options, keep_components)
            for given, step in zip(batch, steps, strict=True)
        ]
        if any(step.controller.stop_reason == "interrupted" for step in steps):
            break
    return results if isinstance(source, list | tuple) else results[0]


def _search(
    spectra: Sequence[Tensor],
    dictionary: Dictionary,
    settings: SearchSettings,
    *,
    likelihood: str,
    random_state: int,
    callback: Callback | None,
    progress: bool,
    **options: Any,
) -> Sequence[Solved]:
    """Run the searches of some spectrograms, as one if there are several.

    A silent one is not searched: its activations start, and stay, at zero.
    """
    silent = [not bool(X.any()) for X in spectra]
    if any(silent):
        warnings.warn("the recording is silent: all activations are zero", stacklevel=3)
    schedules = [Schedule(settings.step_size, 0 if s else settings.max_steps) for s in silent]
    size = sum(_search_bytes(X, dictionary, settings) for X in spectra)
    n_frames = sum(X.shape[1] for X in spectra)
    logger.info("searching %d frames, keeping about %.2f GiB", n_frames, size / 2**30)
    try:
        problems = []
        for X, is_silent in zip(spectra, silent, strict=True):
            problem = _problem(X, dictionary, settings, likelihood, random_state)
            if is_silent:
                problem = replace(problem, H=torch.zeros_like(problem.H))
            problems.append(problem)
        progress = progress and not all(silent)
        if len(problems) > 1:
            steps = solve_together(problems, schedules, progress=progress, **options)
        else:
            (problem,), (schedule,) = problems, schedules
            steps = [solve(problem, schedule, callback=callback, progress=progress, **options)]
    except (MemoryError, RuntimeError) as error:
        if not _ran_out_of_memory(error):
            raise
        raise MemoryError(_memory_advice(size, dictionary.kind)) from error
    for step, is_silent in zip(steps, silent, strict=True):
        if is_silent:
            step.controller.stop_reason = "silent"
    return steps


def _result(
    given: Given,
    step: Solved,
    dictionary: Dictionary,
    settings: SearchSettings,
    options: Mapping[str, Any],
    keep_components: bool,
) -> Decomposition:
    state, controller = step.state(), step.controller
    labels = _labels(dictionary, settings).to(state.H.device)
    summed = source_activations(state.W, state.H, labels, len(dictionary.sources))
    return Decomposition(
        components=given.give_back(state.W) if keep_components else None,
        activations=given.give_back(state.H),
        source_activations=given.give_back(summed),
        log_likelihoods=given.give_back(state.log_likelihoods),
        labels=labels.cpu().numpy(),
        sources=dictionary.sources,
        kind=dictionary.kind,
        config=dictionary.spectrogram,
        history=np.array(controller.history),
        stop_reason=str(controller.stop_reason),
        detection=dictionary.detection,
        settings={**asdict(settings), **options},
        gain=given.gain,
        tuning=given.tuning,
        stft=given.stft,
        n_samples=given.n_samples,
    )


def resolve_dictionary(dictionary: Dictionary | str | Path | None) -> Dictionary:
    """The given dictionary, the one at a path, or the packaged piano for None."""
    if isinstance(dictionary, Dictionary):
        return dictionary
    return load(PIANO if dictionary is None else dictionary)


def _settings(dictionary: Dictionary, preset: str | None, **overrides: Any) -> SearchSettings:
    if preset not in (None, "paper"):
        raise ValueError(f"preset must be None or 'paper', not {preset!r}")
    base = dictionary.search if preset is None else PAPER[dictionary.kind]
    return base.with_overrides(dictionary.kind, **overrides)


def _problem(
    X: Tensor, dictionary: Dictionary, settings: SearchSettings, likelihood: str, random_state: int
) -> Problem:
    if dictionary.kind == "nmf":
        assert dictionary.W is not None
        return nmf.problem(X, dictionary.W.to(X), settings.sparsity)
    return dds.problem(
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


def _labels(dictionary: Dictionary, settings: SearchSettings) -> Tensor:
    """``(J,)`` source index of each row of H."""
    if dictionary.labels is not None:
        return dictionary.labels
    return torch.arange(len(dictionary.sources)).repeat_interleave(settings.n_components or 1)


def _ran_out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate" in text


def _search_bytes(X: Tensor, dictionary: Dictionary, settings: SearchSettings) -> int:
    """What a search keeps: activations, codes and their Adam moments, and entries."""
    F, T = X.shape
    J = len(dictionary.sources) * (settings.n_components or 1)
    if dictionary.W is not None:
        J = dictionary.W.shape[1]
    n_entries = J * T if dictionary.kind == "dds1" else J
    n_codes = 0 if dictionary.kind == "nmf" else n_entries
    return (5 * J * T + 2 * n_entries * F + 4 * n_codes * F) * X.element_size()


def _memory_advice(size: int, kind: str) -> str:
    lower = {
        "nmf": "a dictionary of fewer frames or a shorter recording",
        "dds1": "a shorter recording or as_kind('dds2')",
    }.get(kind, "n_components or a shorter recording")
    return (
        f"out of memory: this {kind} search keeps about {size / 2**30:.1f} GiB; {lower} lowers it"
    )
