"""Dictionaries: what a recording is decomposed into, and how the search for it is set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dds_fast.audio import SpectrogramConfig
from dds_fast.datasets.notes import NoteFrames
from dds_fast.export import Detection, stored_detection
from dds_fast.files import read_tensors, write_tensors
from dds_fast.flows import ConditionalGlow, RealNVPBank
from dds_fast.methods.settings import KINDS, PAPER, SearchSettings
from dds_fast.ops.frozen import FrozenFlow

FLOWS = {"dds1": RealNVPBank, "dds2": RealNVPBank, "dds3": ConditionalGlow}
PIANO = Path(__file__).parent / "models" / "piano.safetensors"


class Dictionary:
    """Sources, the spectrogram that they are described in, and a flow or stored frames.

    Make one with `dds_fast.fit`, `from_flow`, `from_frames` or `dds_fast.load`.

    Attributes:
        kind: "nmf", "dds1", "dds2" or "dds3"; selects the method.
        sources: MIDI numbers or names, one per source.
        spectrogram: the `SpectrogramConfig` that recordings must be brought to.
        flow: the trainable `RealNVPBank` or `ConditionalGlow`, None for "nmf".
        W: ``(F, N)`` float32 tensor of training frames for "nmf", else None.
        labels: ``(N,)`` source index of each column of W, None for flows.
        metadata: JSON-like record: "search" (settings by kind), "detection" (by kind),
            "training" and whatever else was stored.
    """

    def __init__(
        self,
        kind: str,
        sources: Sequence[int | str],
        spectrogram: SpectrogramConfig,
        *,
        flow: RealNVPBank | ConditionalGlow | None = None,
        W: Tensor | None = None,
        labels: Tensor | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"a dictionary's kind must be one of {KINDS}, not {kind!r}")
        sources = tuple(s.item() if isinstance(s, np.generic) else s for s in sources)
        if len(set(sources)) != len(sources) or not sources:
            raise ValueError("a dictionary needs at least one source, each named once")
        if W is not None and W.ndim != 2:
            raise ValueError(f"W must be (F, N), not {tuple(W.shape)}")
        features = W.shape[0] if W is not None else flow.n_features if flow is not None else None
        if features != spectrogram.n_features:
            raise ValueError(
                f"the dictionary has {features} bins, its spectrogram config "
                f"{spectrogram.n_features} (n_fft = 2 F)"
            )
        if flow is not None and flow.n_sources != len(sources):
            raise ValueError(f"the flow has {flow.n_sources} sources, {len(sources)} are named")
        self.kind = kind
        if W is not None:
            _check_labels(W, labels, len(sources))
        self.sources = sources
        self.spectrogram = spectrogram
        self.flow = flow
        self.W, self.labels = W, labels
        self.metadata = dict(metadata or {})
        self._frozen: dict[tuple[torch.dtype, str], FrozenFlow] = {}

    @classmethod
    def from_flow(
        cls,
        flow: RealNVPBank | ConditionalGlow,
        sources: Sequence[int | str],
        spectrogram: SpectrogramConfig | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Dictionary:
        """Wrap a flow, trained or not: a `RealNVPBank` as "dds2", a `ConditionalGlow` as "dds3".

        Args:
            flow: the flow; its parameters are shared, not copied.
            sources: S MIDI numbers or names.
            spectrogram: by default `SpectrogramConfig.for_features(F)`.
            metadata: stored with the dictionary.

        Raises:
            ValueError: numbers of sources or bins do not fit.
        """
        kind = "dds3" if isinstance(flow, ConditionalGlow) else "dds2"
        if spectrogram is None:
            spectrogram = SpectrogramConfig.for_features(flow.n_features)
        return cls(kind, sources, spectrogram, flow=flow, metadata=metadata)

    @classmethod
    def from_frames(
        cls,
        notes: NoteFrames,
        spectrogram: SpectrogramConfig,
        metadata: Mapping[str, Any] | None = None,
    ) -> Dictionary:
        """An over-complete "nmf" dictionary: every frame is an entry."""
        order = np.argsort(notes.labels, kind="stable")
        return cls(
            "nmf",
            notes.sources,
            spectrogram,
            W=torch.from_numpy(notes.frames[order].T.copy()),
            labels=torch.from_numpy(notes.labels[order].astype(np.int64)),
            metadata=metadata,
        )

    def __repr__(self) -> str:
        return (
            f"Dictionary(kind={self.kind!r}, {len(self.sources)} sources "
            f"{self.sources[0]}..{self.sources[-1]}, F={self.spectrogram.n_features})"
        )

    def as_kind(self, kind: str) -> Dictionary:
        """The same flows searched as "dds1" or "dds2".

        Raises:
            ValueError: this dictionary cannot be searched as that kind.
        """
        if kind != self.kind and {kind, self.kind} != {"dds1", "dds2"}:
            raise ValueError(f"a {self.kind!r} dictionary cannot be used as {kind!r}")
        return Dictionary(
            kind,
            self.sources,
            self.spectrogram,
            flow=self.flow,
            W=self.W,
            labels=self.labels,
            metadata=self.metadata,
        )

    @property
    def search(self) -> SearchSettings:
        """The settings chosen for this dictionary, else the paper's."""
        return PAPER[self.kind].with_overrides(
            self.kind, **self.metadata.get("search", {}).get(self.kind, {})
        )

    @property
    def detection(self) -> Detection | None:
        """What of an activation is a note; None if not calibrated.

        Files that have one "threshold" by kind in place of "detection" use it as both thresholds.
        """
        return stored_detection(
            self.metadata.get("detection", {}).get(self.kind),
            self.metadata.get("threshold", {}).get(self.kind),
        )

    def frozen(self, dtype: torch.dtype, device: torch.device) -> FrozenFlow:
        """The flow as the ops take it; made once per dtype and device."""
        assert self.flow is not None
        key = (dtype, str(device))
        if key not in self._frozen:
            self._frozen[key] = self.flow.freeze().to(dtype, device)
        return self._frozen[key]

    def save(
        self, path: str | Path, *, dtype: torch.dtype | None = None, overwrite: bool = False
    ) -> None:
        """Write a safetensors file with JSON metadata.

        Args:
            path: the file to write.
            dtype: store floating tensors in this dtype, e.g. ``torch.bfloat16``.
            overwrite: replace an existing file.

        Raises:
            FileExistsError: the file exists and `overwrite` is false.
        """
        header: dict[str, Any] = {
            "kind": self.kind,
            "sources": self.sources,
            "spectrogram": asdict(self.spectrogram),
            "metadata": self.metadata,
        }
        if self.flow is not None:
            header["flow"] = self.flow.hyperparameters
            tensors = self.flow.state_dict()
        else:
            assert self.W is not None and self.labels is not None
            tensors = {"W": self.W, "labels": self.labels}
        stored = {
            name: t.to(dtype) if dtype is not None and t.is_floating_point() else t
            for name, t in tensors.items()
        }
        stored = {name: _shrink_integers(t).contiguous() for name, t in stored.items()}
        write_tensors(path, stored, header, overwrite=overwrite)


def _check_labels(W: Tensor, labels: Tensor | None, n_sources: int) -> None:
    """Every frame has the index of one source."""
    if labels is None or labels.shape != W.shape[1:]:
        shape = None if labels is None else tuple(labels.shape)
        raise ValueError(f"labels must be ({W.shape[1]},), one per frame of W, not {shape}")
    if labels.is_floating_point():
        raise ValueError(f"labels must be integers, not {labels.dtype}")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < n_sources:
        raise ValueError(f"labels must lie in 0..{n_sources - 1}")


def _shrink_integers(tensor: Tensor) -> Tensor:
    """Indices in the smallest of int16 and int64 that holds them."""
    if tensor.dtype == torch.int64 and (tensor.numel() == 0 or int(tensor.max()) < 1 << 15):
        return tensor.to(torch.int16)
    return tensor


def load(path: str | Path) -> Dictionary:
    """Read a dictionary. Only tensors and JSON are read; no code is executed.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is truncated, foreign, of a newer format, or its parts do not fit.
    """
    header, tensors = read_tensors(path)
    if header.get("kind") == "nae":
        raise ValueError(f"{path} holds an autoencoder; dds_fast.methods.nae.load reads it")
    try:
        return _from_parts(header, tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged or inconsistent: {error}") from error


def _from_parts(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Dictionary:
    known = {field.name for field in fields(SpectrogramConfig)}
    config = SpectrogramConfig(**{k: v for k, v in header["spectrogram"].items() if k in known})
    restored = {
        name: t.float() if t.dtype in (torch.bfloat16, torch.float16) else t
        for name, t in tensors.items()
    }
    restored = {name: t.long() if t.dtype == torch.int16 else t for name, t in restored.items()}
    kind, sources, metadata = header["kind"], header["sources"], header["metadata"]
    if kind == "nmf":
        return Dictionary(
            kind, sources, config, W=restored["W"], labels=restored["labels"], metadata=metadata
        )
    if kind not in FLOWS:
        raise ValueError(f"unknown kind {kind!r}")
    with torch.device("meta"):
        flow = FLOWS[kind](**header["flow"])
    flow.load_state_dict(restored, assign=True)
    flow.requires_grad_(True)
    return Dictionary(kind, sources, config, flow=flow, metadata=metadata)
