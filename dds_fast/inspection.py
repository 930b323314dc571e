"""How good a learned dictionary is: likelihoods of notes, round trips, samples."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dds_fast import arrays, scalars
from dds_fast.datasets.notes import NoteFrames
from dds_fast.dictionary import Dictionary
from dds_fast.files import writing
from dds_fast.flows.frozen import FrozenFlow
from dds_fast.flows.training.losses import SEMANTIC_VARIANCE, log_density
from dds_fast.ops.flow import flow_decode, flow_encode
from dds_fast.search.problem import latent_rows

N_SAMPLED_SOURCES = 6
N_SAMPLES = 5
FILES = ("report.json", "likelihoods.png", "samples.png", "codes.png")
"""What `Inspection.save` writes."""


@dataclass(frozen=True, eq=False)
class CodesReport:
    """Where searches of a dictionary begin.

    Attributes:
        per_source: M, codes per source.
        bits_per_dim: mean loss of the codes under their own flow, comparable with that of notes.
        rms: their root mean square; 1 for codes drawn from the prior.
        entries: ``(s, n, F)`` spectra that some of them stand for, of the sampled sources.

    Example:
        >>> CodesReport(24, bits_per_dim=1.5, rms=0.6, entries=np.zeros((2, 5, 64))).summary()
        {'per_source': 24, 'bits_per_dim': 1.5, 'rms': 0.6}
    """

    per_source: int
    bits_per_dim: float
    rms: float
    entries: np.ndarray

    def summary(self) -> dict[str, Any]:
        """The figures, JSON-like."""
        return {
            "per_source": self.per_source,
            "bits_per_dim": self.bits_per_dim,
            "rms": self.rms,
        }


@dataclass(frozen=True, eq=False)
class Inspection:
    """What a dictionary makes of isolated notes.

    Attributes:
        sources: the S sources.
        bits: ``(S, S)`` bits per dimension; row j, column s: mean loss of notes of source s under
            the flow (or class) of source j. NaN where a source has no notes. Lower is likelier.
        round_trip: root mean square of decode(encode(x)) - x.
        semantic_accuracy: share of frames whose z_s is nearest to their own source's code; None
            for a bank.
        n_frames: frames looked at.
        samples: ``(s, n, F)`` spectra drawn for some of the sources, indices in `sampled`.
        real: as many frames of the same sources.
        sampled: indices of those sources.
        frequencies: ``(F,)`` Hz.
        codes: of the dictionary's codes; None if it holds none.

    Example:
        >>> from dds_fast.flows import RealNVPBank
        >>> bank = RealNVPBank(2, 16, n_steps=2, width=4, depth=1)
        >>> frames = np.random.default_rng(0).random((2, 40, 16), dtype=np.float32)
        >>> notes = NoteFrames.from_mapping({60: frames[0], 64: frames[1]})
        >>> inspection = inspect(Dictionary.from_flow(bank, notes.sources), notes)
        >>> inspection.own.shape, inspection.gaps.shape, inspection.samples.shape
        ((2,), (2,), (2, 5, 16))
    """

    sources: tuple[int | str, ...]
    bits: np.ndarray
    round_trip: float
    semantic_accuracy: float | None
    n_frames: int
    samples: np.ndarray
    real: np.ndarray
    sampled: tuple[int, ...]
    frequencies: np.ndarray
    codes: CodesReport | None = None

    @property
    def own(self) -> np.ndarray:
        """``(S,)`` bits per dimension of each source's notes under its own flow."""
        return np.diagonal(self.bits)

    @property
    def gaps(self) -> np.ndarray:
        """``(S,)`` by how much the likeliest other source is worse than the own one, in bits.

        Negative where another source explains a source's notes better, NaN where there is no other.
        """
        if len(self.bits) == 1:
            return np.full(1, np.nan)
        others = self.bits + np.diag(np.full(len(self.bits), np.inf))
        return others.min(axis=0) - self.own

    def summary(self) -> dict[str, Any]:
        """The figures, JSON-like; ``bits_per_dim`` and ``gap`` by source."""
        return {
            "n_frames": self.n_frames,
            "bits_per_dim": _mean(self.own),
            "worst_source": _named(self.sources, self.own, np.nanargmax),
            "gap_to_other_sources": _mean(self.gaps),
            "smallest_gap": _named(self.sources, self.gaps, np.nanargmin),
            "own_source_likeliest": _mean(np.where(np.isnan(self.gaps), np.nan, self.gaps > 0)),
            "round_trip_rms": self.round_trip,
            "semantic_accuracy": self.semantic_accuracy,
            "codes": None if self.codes is None else self.codes.summary(),
        }

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write `FILES`, the last of them where the dictionary holds codes.

        Raises:
            FileExistsError: one of them exists and `overwrite` is false.
        """
        from dds_fast import plots
        from dds_fast.plots.figure import beside_results

        folder = Path(folder)
        by_source = {
            str(source): {"bits_per_dim": float(own), "gap": None if np.isnan(gap) else float(gap)}
            for source, own, gap in zip(self.sources, self.own, self.gaps, strict=True)
            if not math.isnan(own)
        }
        with writing(folder / "report.json", overwrite) as path:
            path.write_text(json.dumps({**self.summary(), "sources": by_source}, indent=1))
        with beside_results(folder / "likelihoods.png") as path:
            matrix = plots.likelihood_matrix(self.bits, self.sources)
            plots.save_figure(matrix, path, overwrite=overwrite)
        names = [self.sources[index] for index in self.sampled]
        pictures = {"samples.png": (self.samples, "drawn")}
        if self.codes is not None:
            pictures["codes.png"] = (self.codes.entries, "codes, decoded")
        for file, (spectra, title) in pictures.items():
            with beside_results(folder / file) as path:
                drawn = plots.samples(self.real, spectra, names, self.frequencies, title=title)
                plots.save_figure(drawn, path, overwrite=overwrite)


def _mean(values: np.ndarray) -> float | None:
    return None if np.isnan(values).all() else float(np.nanmean(values))


def _named(
    sources: tuple[int | str, ...], values: np.ndarray, choose: Any
) -> dict[str, Any] | None:
    if np.isnan(values).all():
        return None
    index = int(choose(values))
    return {"source": sources[index], "bits_per_dim": float(values[index])}


@arrays.isolated()
@torch.no_grad()
def inspect(
    dictionary: Dictionary,
    notes: NoteFrames,
    *,
    frames_per_source: int = 32,
    random_state: int = 0,
) -> Inspection:
    """Measure a learned dictionary on isolated notes, held out from its training if possible.

    Args:
        dictionary: of kind "dds1", "dds2" or "dds3".
        notes: their sources must be sources of the dictionary; not all need be there.
        frames_per_source: so many frames of each source are drawn.
        random_state: seed of that draw and of the samples.

    Raises:
        ValueError: an "nmf" dictionary, which has no likelihood; notes of an unknown source or
            with another number of bins.

    Example:
        >>> from dds_fast.flows import RealNVPBank
        >>> bank = RealNVPBank(2, 16, n_steps=2, width=4, depth=1)
        >>> frames = np.random.default_rng(0).random((2, 40, 16), dtype=np.float32)
        >>> notes = NoteFrames.from_mapping({60: frames[0], 64: frames[1]})
        >>> inspection = inspect(Dictionary.from_flow(bank, notes.sources), notes)
        >>> inspection.bits.shape, inspection.n_frames, inspection.round_trip < 1e-5
        ((2, 2), 64, True)
    """
    if dictionary.flow is None:
        raise ValueError("an 'nmf' dictionary has no likelihood to report on")
    unknown = [source for source in notes.sources if source not in dictionary.sources]
    if unknown:
        raise ValueError(f"the dictionary has no source {unknown[0]!r}")
    if notes.frames.shape[1] != dictionary.spectrogram.n_features:
        raise ValueError(
            f"the notes have {notes.frames.shape[1]} bins, the dictionary "
            f"{dictionary.spectrogram.n_features}"
        )
    frames_per_source = scalars.integer("frames_per_source", frames_per_source, least=1)
    random_state = scalars.integer("random_state", random_state, least=0)
    rng = np.random.default_rng(random_state)
    index = np.array([dictionary.sources.index(source) for source in notes.sources])
    labels = index[notes.labels]
    chosen = np.concatenate(
        [
            rng.permutation(np.flatnonzero(labels == s))[:frames_per_source]
            for s in range(len(dictionary.sources))
        ]
    )
    x, labels = torch.from_numpy(notes.frames[chosen]), torch.from_numpy(labels[chosen])
    flow = dictionary.frozen(torch.float32, torch.device("cpu"))
    losses, round_trip, accuracy = _measure(dictionary, flow, x, labels)
    S, F = len(dictionary.sources), x.shape[1]
    sums = losses.new_zeros(S, S).index_add_(1, labels, losses)
    bits = sums / torch.bincount(labels, minlength=S) / (math.log(2) * F)
    present = np.unique(labels.numpy())
    sampled = present[np.linspace(0, len(present) - 1, N_SAMPLED_SOURCES).round().astype(int)]
    sampled = np.unique(sampled)
    real = [_cycled(x[labels == int(s)].numpy(), N_SAMPLES) for s in sampled]
    generator = torch.Generator().manual_seed(random_state)
    return Inspection(
        sources=dictionary.sources,
        bits=bits.numpy(),
        round_trip=round_trip,
        semantic_accuracy=accuracy,
        n_frames=len(x),
        samples=_draw(dictionary, flow, generator)[sampled].numpy(),
        real=np.stack(real),
        sampled=tuple(int(s) for s in sampled),
        frequencies=dictionary.spectrogram.frequencies,
        codes=_codes_report(dictionary, flow, sampled),
    )


def _measure(
    dictionary: Dictionary, flow: FrozenFlow, x: Tensor, labels: Tensor
) -> tuple[Tensor, float, float | None]:
    """``(S, rows)`` losses under each source, the round trip's error, and z_s's accuracy."""
    S = len(dictionary.sources)
    if dictionary.kind == "dds3":
        z, log_det = flow_encode(flow, x[None])
        semantic, nuisance = z[0].tensor_split([S], dim=-1)
        # |z_s - e_y|^2 for every y.
        errors = semantic.square().sum(-1, keepdim=True) - 2 * semantic + 1
        likelihood = log_density(nuisance) + log_det[0]
        losses = (errors / (2 * SEMANTIC_VARIANCE) - likelihood[:, None]).T
        accuracy = float((semantic.argmax(-1) == labels).float().mean())
    else:
        z, log_det = flow_encode(flow, x.expand(S, -1, -1).contiguous())
        losses, accuracy = -log_density(z) - log_det, None
    again = flow_decode(flow, z)[0]
    own = again[0] if dictionary.kind == "dds3" else again[labels, torch.arange(len(x))]
    return losses, float((own - x).square().mean().sqrt()), accuracy


def _draw(dictionary: Dictionary, flow: FrozenFlow, generator: torch.Generator) -> Tensor:
    """``(S, N_SAMPLES, F)`` spectra drawn from the flow of each source."""
    S, F = len(dictionary.sources), flow.n_features
    z = torch.randn(S, N_SAMPLES, F, generator=generator)
    if dictionary.kind == "dds3":
        z[..., :S] = torch.eye(S)[:, None]
        z = z.view(1, S * N_SAMPLES, F)
    return flow_decode(flow, z)[0].clamp_min(0).view(S, N_SAMPLES, F)


def _codes_report(
    dictionary: Dictionary, flow: FrozenFlow, sampled: np.ndarray
) -> CodesReport | None:
    codes = dictionary.codes
    if codes is None:
        return None
    M = codes.shape[1]
    rows, _ = latent_rows(codes, dictionary.kind)
    entries, log_det = flow_decode(flow, rows)
    F = entries.shape[-1]
    losses = log_det.flatten() - log_density(codes.flatten(0, 1))
    return CodesReport(
        per_source=M,
        bits_per_dim=float(losses.mean()) / (math.log(2) * F),
        rms=float(codes.square().mean().sqrt()),
        entries=entries.clamp_min(0).view(-1, M, F)[sampled, :N_SAMPLES].numpy(),
    )


def _cycled(frames: np.ndarray, n: int) -> np.ndarray:
    """The first `n` frames, again from the start if there are fewer."""
    return frames[np.arange(n) % len(frames)]
