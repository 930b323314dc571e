"""The one-call API: from a recording to its source activations."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, overload

import torch

from dds_fast import arrays, scalars
from dds_fast.audio.recordings import Source, Tuning, check_tuning, read
from dds_fast.batch import Batch
from dds_fast.choices import PRECISIONS
from dds_fast.decomposition import Decomposition
from dds_fast.dictionary import PIANO, Dictionary, load
from dds_fast.pieces import Recording
from dds_fast.problems import Problems
from dds_fast.progress import bar
from dds_fast.search.engines import choose
from dds_fast.search.loop import Callback
from dds_fast.search.settings import SearchSettings, preset_settings

if TYPE_CHECKING:
    from typing_extensions import Unpack

AnySource = TypeVar("AnySource", bound=Source)


class _Options(TypedDict, total=False):
    """What `decompose` takes by name."""

    sr: float | None
    tuning: Tuning
    n_components: int | None
    max_steps: int | None
    step_size: float | None
    penalty: float | None
    sparsity: float | None
    likelihood: str
    preset: str | None
    precision: str
    backend: str
    device: str | torch.device | None
    random_state: int
    callback: Callback | None
    progress: bool
    keep_components: bool


@overload
def decompose(
    source: Source, dictionary: Dictionary | str | Path | None = None, **options: Unpack[_Options]
) -> Decomposition: ...


@overload
def decompose(
    source: list[AnySource] | tuple[AnySource, ...],
    dictionary: Dictionary | str | Path | None = None,
    **options: Unpack[_Options],
) -> list[Decomposition]: ...


@arrays.isolated()
def decompose(
    source: Source | list[AnySource] | tuple[AnySource, ...],
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
    All but "dds1" are searched in stages (docs/method.md) unless the paper's search is asked for.
    Recordings are brought to one level; those of more than 45 s are searched in windows of about
    30 s that fade into one another, except by the paper's search.

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
        max_steps: most steps in all, see `dds_fast.search.SearchSettings`.
        step_size: initial step size of Adam.
        penalty: weight of the likelihood penalty.
        sparsity: weight of the activations' l1 norm (see `SearchSettings`).
        likelihood: "latent" (density of the codes) or "data" (with the log-determinant).
        preset: None for the dictionary's own settings; "fast" for these with entries that stay as
            they are, without a pass through the flow but the first; "paper" for the DDS paper's
            search. Arguments given explicitly win over all.
        precision: "float64", "float32", "tf32", "bf16x3" or "bfloat16".
        backend: "auto" or a backend's name.
        device: where to compute; by default a tensor's own device, else a GPU if there is one.
        random_state: seed of what is drawn: the initial activations of the paper's search, the
            codes of a dictionary that holds none.
        callback: called after each step with ``{"stage", "step", "cost", "step_size"}``; returning
            False stops the recording. A staged search that lost its way (docs/method.md) goes back
            and reports its steps again.
        progress: show a progress bar, in seconds of sound.
        keep_components: whether the result holds the components (large for "dds1").

    Returns:
        A `Decomposition`, in the source's floating dtype (float32 for paths); or a list of them.
        Ctrl-C returns what was reached so far, of a long recording the windows that are done; a
        list then ends with the interrupted source.

    Raises:
        BatchError: recordings of a list failed, by errors as below; raised when all were tried,
            with the results of the others.
        FileNotFoundError: no such recording or dictionary.
        ValueError: bad input; the message names the problem and the place.
        RuntimeError: no backend can run the request, with the reasons.
        MemoryError: the search does not fit, with its size and what lowers it; before any work
            where it could not fit this machine.

    Warns:
        UserWarning: a silent recording, or one whose level is implausibly high.

    Source: DDS paper (arXiv 2211.15524); docs/method.md for the staged search.

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
    asked = _asked(
        dictionary,
        preset,
        precision,
        likelihood,
        random_state,
        n_components=n_components,
        max_steps=max_steps,
        step_size=step_size,
        penalty=penalty,
        sparsity=sparsity,
    )
    settings = asked.settings
    several = isinstance(source, list | tuple)
    sources = source if isinstance(source, list | tuple) else [source]
    if not sources:
        raise ValueError("the list of sources is empty")

    def begin(one: Source) -> Recording:
        given = read(one, sr, dictionary.spectrogram, tuning)
        shown.total += given.seconds
        return Recording(given, settings, dictionary, keep_components)

    with bar(total=0.0, shown=progress, unit="s", bar_format=_BAR) as shown:
        batch = Batch(asked, precision, backend, device, callback, shown, several=several)
        batch.search(sources, begin)
    options = {
        "likelihood": likelihood,
        "precision": precision,
        "random_state": asked.random_state,
    }
    found = batch.results({**asdict(settings), **options})
    return found if several else found[0]


_BAR = "{l_bar}{bar}| {n:.1f}/{total:.1f} s of sound [{elapsed}<{remaining}{postfix}]"


def resolve_dictionary(dictionary: Dictionary | str | Path | None) -> Dictionary:
    """The given dictionary, the one at a path, or the packaged piano for None."""
    if isinstance(dictionary, Dictionary):
        return dictionary
    return load(PIANO if dictionary is None else dictionary)


@arrays.isolated()
def check(
    dictionary: Dictionary,
    *,
    preset: str | None = None,
    precision: str = "float32",
    likelihood: str = "latent",
    random_state: int = 0,
    tuning: Tuning = None,
    backend: str = "auto",
    device: str | torch.device | None = None,
    **overrides: Any,
) -> None:
    """Refuse options that `decompose` would refuse for any recording, before one is read.

    Args:
        dictionary: what to decompose into; the options are those of `decompose`.

    Raises:
        ValueError: an option is not legal.
        RuntimeError: no backend can run what is asked for, with the reasons.
    """
    asked = _asked(dictionary, preset, precision, likelihood, random_state, **overrides)
    check_tuning(tuning)
    dtype = torch.float64 if precision == "float64" else torch.float32
    F = dictionary.spectrogram.n_features
    choose(
        asked.of(torch.ones(F, 1, dtype=dtype, device=arrays.device(device))), precision, backend
    )


def _asked(
    dictionary: Dictionary,
    preset: str | None,
    precision: str,
    likelihood: str,
    random_state: int,
    **overrides: Any,
) -> Problems:
    """What every recording is asked, by legal options."""
    settings = resolve_settings(dictionary, preset, **overrides)
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {PRECISIONS}, not {precision!r}")
    random_state = scalars.integer("random_state", random_state)
    return Problems(dictionary, settings, likelihood, random_state)


def resolve_settings(
    dictionary: Dictionary, preset: str | None = None, **overrides: Any
) -> SearchSettings:
    """The settings of a search: the dictionary's own or a preset's, but for what is given.

    Raises:
        ValueError: as of `dds_fast.search.SearchSettings.with_overrides`, or an unknown preset.
    """
    base = dictionary.search
    if preset is not None:
        base = preset_settings(preset, dictionary.kind, base)
    return base.with_overrides(dictionary.kind, **overrides)
