"""A recording taken apart by NMF, an autoencoder or sampling, as a `Decomposition`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dds_fast import arrays, nmf, scalars
from dds_fast.audio.recordings import Given, Source, rate_of, read
from dds_fast.audio.windows import Window
from dds_fast.choices import FACTORIZATIONS
from dds_fast.decompose import resolve_dictionary
from dds_fast.decomposition import Decomposition, source_activations
from dds_fast.dictionary import Dictionary
from dds_fast.methods import langevin, nae
from dds_fast.methods.score_informed import full_band

AT_ONCE = 6
"""Sources up to which `langevin.separate` takes its own step size; more need smaller ones."""

LOUDEST = 1.2
"""Bound of what is sampled: spectra of recordings at the level of a dictionary lie below."""

NAE_LEVEL = 30.0
"""At which silence is nearly silent and templates are nearly those of NMF (docs/nae.md)."""


@arrays.isolated()
def factorize(
    source: Source,
    method: str = "nmf",
    *,
    n_components: int = 8,
    dictionary: Dictionary | str | Path | None = None,
    sources: Sequence[int | str] | None = None,
    sr: float | None = None,
    **options: Any,
) -> Decomposition:
    """Take a recording apart without a search: into components of its own, or by sampling.

    Args:
        source: as for `dds_fast.decompose`, but not a `Spectrogram`.
        method: "nmf", see `nmf.factorize`; "nae", the decoder and the activations of a
            non-negative autoencoder, see `methods.nae.fit`: where its templates are negative, they
            count as zero; or "langevin", samples of a dictionary's sources given the recording, see
            `methods.langevin.separate`.
        n_components: J, of "nmf" and "nae", whose sources are "1" to "J".
        dictionary: of "langevin": one with a flow, its path, or None for the packaged piano.
        sources: of "langevin": which of its sources; by default all.
        sr: sampling rate of a waveform, in Hz.
        **options: of the functions named above.

    Returns:
        A `Decomposition`: it separates, draws, saves. "nmf" and "nae" see linear magnitudes of the
        whole band. Components of "langevin" are ``(S, F, T)``, its activations all 1, and those of
        sources the norms of the samples.

    Raises:
        FileNotFoundError: no such recording or dictionary.
        ValueError: bad input; the message names the problem.

    Example:
        >>> tone = np.sin(np.arange(16000) / 10) * (np.arange(16000) < 8000)
        >>> result = factorize(tone, n_components=2, sr=16000, n_steps=10)
        >>> result
        <Decomposition: 1.00 s in 32 frames, nmf of 2 sources 1..2, 10 steps (max_steps)>
        >>> result.separate().stems.shape
        (2, 16000)
    """
    if method not in FACTORIZATIONS:
        raise ValueError(f"method must be one of {FACTORIZATIONS}, not {method!r}")
    if options.get("depth", 1) != 1:
        raise ValueError("factorize() takes the shallow autoencoder: depth must be 1")
    if method == "langevin":
        return _sampled(source, resolve_dictionary(dictionary), sources, sr, options)
    n_components = scalars.integer("n_components", n_components, least=1)
    rate = rate_of(source, sr)
    if rate is None:
        raise ValueError("factorize() takes a recording; nmf.factorize takes a spectrogram")
    given = read(source, sr, full_band(rate))
    X = given.X
    names = tuple(str(number) for number in range(1, n_components + 1))
    if method == "nmf":
        W, H, history, stop_reason = nmf.factorize(X, n_components, **{"check_every": 1, **options})
    else:
        model = nae.fit(X, n_components, **{"level": NAE_LEVEL, **options})
        W, H = model.scale * model.decoder[0].clamp_min(0).to(X), model.encode(X)
        history, stop_reason = list(model.history), model.stop_reason
    summed = source_activations(W, H, torch.arange(n_components, device=W.device), n_components)
    settings = {"n_components": n_components, **options}
    return _result(given, method, names, (W, H), summed, history, stop_reason, settings)


def _sampled(
    source: Source,
    dictionary: Dictionary,
    sources: Sequence[int | str] | None,
    sr: float | None,
    options: dict[str, Any],
) -> Decomposition:
    prior = langevin.frame_prior(dictionary, sources)
    names = tuple(dictionary.sources if sources is None else sources)
    given = read(source, sr, dictionary.spectrogram)
    if given.recording is None:
        raise ValueError("factorize() takes a recording; langevin.separate takes spectra")
    step_size = langevin.STEP_SIZE * min(1.0, AT_ONCE / prior.n_sources)
    asked: dict[str, Any] = {"step_size": step_size, "bounds": (0.0, LOUDEST), **options}
    samples = langevin.separate(given.X.T, prior, **asked).stems  # (S, T, F)
    W = samples.transpose(1, 2).contiguous()
    S, _, T = W.shape
    H = torch.ones(S, T, dtype=W.dtype, device=W.device)
    # It has no cost that a step would lower.
    return _result(given, "langevin", names, (W, H), W.norm(dim=1), [0.0], "max_steps", asked)


def _result(
    given: Given,
    method: str,
    sources: tuple[int | str, ...],
    factors: tuple[Tensor, Tensor],
    summed: Tensor,
    history: list[float],
    stop_reason: str,
    settings: dict[str, Any],
) -> Decomposition:
    W, H = (given.kind.give_back(factor) for factor in factors)
    return Decomposition(
        (Window(W, H, np.arange(len(sources))),),
        given.kind.give_back(summed),
        sources=sources,
        kind=method,
        config=given.config,
        history=np.array(history, dtype=float),
        stop_reason=stop_reason if bool(given.X.any()) else "silent",
        settings=_plain(settings),
        gain=given.gain,
        recording=given.recording,
        samples=given.samples,
        n_samples=given.n_samples,
    )


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """What JSON can hold of them."""
    kinds = (str, int, float, bool, tuple, type(None))
    return {name: value for name, value in options.items() if isinstance(value, kinds)}
