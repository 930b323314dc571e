"""Dictionaries: what a recording is decomposed into, and how the search for it is set."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dds_fast import arrays, scalars
from dds_fast.audio import SpectrogramConfig
from dds_fast.choices import KINDS
from dds_fast.datasets.notes import NoteFrames
from dds_fast.files import check_finite, field, named, read_tensors, write_tensors
from dds_fast.flows import ConditionalGlow, RealNVPBank
from dds_fast.flows.frozen import FrozenFlow
from dds_fast.flows.stored import restored
from dds_fast.notes.found import Detection, stored_detection
from dds_fast.search.settings import DEFAULT, SearchSettings
from dds_fast.temporal.network import NoteNetwork

FLOWS: dict[str, type[RealNVPBank | ConditionalGlow]] = {
    "dds1": RealNVPBank,
    "dds2": RealNVPBank,
    "dds3": ConditionalGlow,
}
logger = logging.getLogger("dds_fast")

CODE_SHRINKAGE = 0.6
"""Codes are taken so much nearer to the most likely ones: they then serve other instruments too."""

N_DRAWN = 24
"""Codes per source that are drawn where a dictionary holds none."""

_TEMPORAL = "temporal."
"""How the names of the network's tensors begin in a file."""

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
        labels: ``(N,)`` source index of each column of W, ascending; None for flows.
        codes: ``(S, M, D)`` latent codes of each source's own frames, where a staged search begins;
            None for "nmf" and where none were chosen.
        temporal: what tells notes from activations over time (see `dds_fast.calibrate`); None if
            not calibrated.
        metadata: JSON-like record: "search" (settings by kind), "detection" (by kind),
            "training" and whatever else was stored.

    Example:
        >>> bank = RealNVPBank(2, 64, n_steps=2, width=4, depth=1)
        >>> dictionary = Dictionary.from_flow(bank, sources=[60, 64])
        >>> dictionary
        Dictionary(kind='dds2', 2 sources 60..64, F=64)
        >>> dictionary.spectrogram.n_fft, dictionary.search.algorithm
        (128, 'staged')
        >>> dictionary.as_kind("dds1").search.algorithm
        'gradient'
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
        codes: Tensor | None = None,
        temporal: NoteNetwork | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"a dictionary's kind must be one of {KINDS}, not {kind!r}")
        sources = tuple(_source(source) for source in sources)
        if len(set(sources)) != len(sources) or not sources:
            raise ValueError("a dictionary needs at least one source, each named once")
        W = None if W is None else arrays.as_tensor("W", W)
        labels = None if labels is None else arrays.as_tensor("labels", labels)
        codes = None if codes is None else arrays.as_tensor("codes", codes)
        if W is not None:
            if W.ndim != 2 or not W.is_floating_point() or 0 in W.shape:
                raise ValueError(f"W must be floats (F, N), not {W.dtype} {tuple(W.shape)}")
            arrays.check_entries("W", W)
        features = W.shape[0] if W is not None else flow.n_features if flow is not None else None
        if features != spectrogram.n_features:
            raise ValueError(
                f"the dictionary has {features} bins, its spectrogram config "
                f"{spectrogram.n_features} (n_fft = 2 F)"
            )
        if flow is not None and flow.n_sources != len(sources):
            raise ValueError(f"the flow has {flow.n_sources} sources, {len(sources)} are named")
        if codes is not None:
            _check_codes(codes, kind, flow, len(sources))
        self.kind = kind
        if W is not None:
            _check_labels(W, labels, len(sources))
        self.sources = sources
        self.spectrogram = spectrogram
        self.flow = flow
        self.W, self.labels, self.codes = W, labels, codes
        self.temporal = temporal
        self.metadata = dict(metadata or {})
        self._frozen: dict[tuple[torch.dtype, str], FrozenFlow] = {}
        self._drawn: dict[int, Tensor] = {}

    @classmethod
    def from_flow(
        cls,
        flow: RealNVPBank | ConditionalGlow,
        sources: Sequence[int | str],
        spectrogram: SpectrogramConfig | None = None,
        metadata: Mapping[str, Any] | None = None,
        codes: Tensor | None = None,
    ) -> Dictionary:
        """Wrap a flow, trained or not: a `RealNVPBank` as "dds2", a `ConditionalGlow` as "dds3".

        Args:
            flow: the flow; its parameters are shared, not copied.
            sources: S MIDI numbers or names.
            spectrogram: by default `SpectrogramConfig.for_features(F)`.
            metadata: stored with the dictionary.
            codes: ``(S, M, D)`` where a staged search begins, D being F for a bank and F - S for a
                Glow.

        Raises:
            ValueError: numbers of sources, bins or codes do not fit.
        """
        kind = "dds3" if isinstance(flow, ConditionalGlow) else "dds2"
        if spectrogram is None:
            spectrogram = SpectrogramConfig.for_features(flow.n_features)
        return cls(kind, sources, spectrogram, flow=flow, metadata=metadata, codes=codes)

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
            codes=self.codes,
            temporal=self.temporal,
            metadata=self.metadata,
        )

    @property
    def search(self) -> SearchSettings:
        """The settings chosen for this dictionary, else `dds_fast.search.DEFAULT`."""
        return DEFAULT[self.kind].with_overrides(
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

    @arrays.isolated()
    def start_codes(self, random_state: int = 0) -> Tensor:
        """``(S, M, D)`` codes where a staged search begins; without `codes`, draws of the flow.

        Args:
            random_state: seed of the draws.
        """
        if self.codes is not None:
            return self.codes
        random_state = scalars.integer("random_state", random_state)
        assert self.flow is not None
        if not self._drawn:
            logger.info("the dictionary holds no codes: searches begin at draws of its flow")
        if random_state not in self._drawn:
            S, D = len(self.sources), code_size(self.kind, self.flow)
            generator = torch.Generator().manual_seed(random_state)
            self._drawn[random_state] = CODE_SHRINKAGE * torch.randn(
                S, N_DRAWN, D, generator=generator
            )
        return self._drawn[random_state]

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
            dtype: store floating tensors in this dtype, e.g. ``torch.bfloat16``; codes, where a
                search only begins, always are bfloat16.
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
            tensors = dict(self.flow.state_dict())
        else:
            assert self.W is not None and self.labels is not None
            tensors = {"W": self.W, "labels": self.labels}
        stored = {
            name: t.to(dtype) if dtype is not None and t.is_floating_point() else t
            for name, t in tensors.items()
        }
        if self.codes is not None:
            stored["codes"] = self.codes.to(torch.bfloat16)
        if self.temporal is not None:
            own = self.temporal.state_dict()
            stored |= {f"{_TEMPORAL}{name}": tensor for name, tensor in own.items()}
        stored = {name: _shrink_integers(t).contiguous() for name, t in stored.items()}
        write_tensors(path, stored, header, overwrite=overwrite)


def code_size(kind: str, flow: RealNVPBank | ConditionalGlow) -> int:
    """D, the latent dims of a flow that move: all but the Glow's z_s.

    Example:
        >>> code_size("dds3", ConditionalGlow(3, 8, n_steps=1, width=4, depth=1))
        5
    """
    return flow.n_features - (flow.n_sources if kind == "dds3" else 0)


def _source(name: Any) -> int | str:
    """A MIDI number, or a name that can be printed."""
    if isinstance(name, str):
        if not name.isprintable() or not name:
            raise ValueError(f"a source's name must be printable, not {name!r}")
        return str(name)
    return scalars.integer("a source that has no name", name, 0, 127)


def _check_codes(
    codes: Tensor, kind: str, flow: RealNVPBank | ConditionalGlow | None, n_sources: int
) -> None:
    if flow is None:
        raise ValueError("only a dictionary with a flow has codes")
    D = code_size(kind, flow)
    if codes.ndim != 3 or codes.shape[::2] != (n_sources, D) or codes.shape[1] == 0:
        raise ValueError(
            f"codes must be ({n_sources}, M, {D}) with M > 0, not {tuple(codes.shape)}"
        )
    if not codes.is_floating_point() or not bool(torch.isfinite(codes).all()):
        raise ValueError("codes must be finite floats")


def _check_labels(W: Tensor, labels: Tensor | None, n_sources: int) -> None:
    """Every frame has the index of one source."""
    if labels is None or labels.shape != W.shape[1:]:
        shape = None if labels is None else tuple(labels.shape)
        raise ValueError(f"labels must be ({W.shape[1]},), one per frame of W, not {shape}")
    if labels.is_floating_point():
        raise ValueError(f"labels must be integers, not {labels.dtype}")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < n_sources:
        raise ValueError(f"labels must lie in 0..{n_sources - 1}")
    if bool((labels.diff() < 0).any()):
        raise ValueError("labels must ascend: searches find the entries of a source side by side")


def _shrink_integers(tensor: Tensor) -> Tensor:
    """Indices in the smallest of int16 and int64 that holds them."""
    if tensor.dtype == torch.int64 and (tensor.numel() == 0 or int(tensor.max()) < 1 << 15):
        return tensor.to(torch.int16)
    return tensor


@arrays.isolated()
def load(path: str | Path) -> Dictionary:
    """Read a dictionary. Only tensors and JSON are read; no code is executed.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is truncated, foreign, of a newer format, or its parts do not fit.

    Example:
        >>> import tempfile
        >>> bank = RealNVPBank(2, 64, n_steps=2, width=4, depth=1)
        >>> drums = Dictionary.from_flow(bank, sources=["kick", "snare"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     drums.save(f"{folder}/drums.safetensors")
        ...     load(f"{folder}/drums.safetensors")
        Dictionary(kind='dds2', 2 sources kick..snare, F=64)
    """
    header, tensors = read_tensors(path)
    if header.get("kind") == "nae":
        raise ValueError(f"{path} holds an autoencoder; dds_fast.methods.nae.load reads it")
    with named(f"{path} is damaged or inconsistent"):
        return _from_parts(header, tensors)


def _from_parts(header: Mapping[str, Any], tensors: dict[str, Tensor]) -> Dictionary:
    kind, sources = field(header, "kind", str), field(header, "sources", list)
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, not {kind!r}")
    with named("spectrogram"):
        config = SpectrogramConfig.stored(field(header, "spectrogram", dict))
    metadata = field(header, "metadata", dict)
    if header["format_version"] == 1:
        # Settings and threshold of a search that is no longer the default.
        metadata = {k: v for k, v in metadata.items() if k not in ("search", "threshold")}
    with named("metadata"):
        _check_metadata(metadata)
    tensors = {name: _single(name, tensor) for name, tensor in tensors.items()}
    own = {name: tensors.pop(name) for name in list(tensors) if name.startswith(_TEMPORAL)}
    temporal = None
    if own:
        with named("temporal"):
            temporal = NoteNetwork.restored({n.removeprefix(_TEMPORAL): t for n, t in own.items()})
    if kind == "nmf":
        if tensors.keys() != {"W", "labels"}:
            raise ValueError(f"the tensors must be W and labels, not {sorted(tensors)}")
        W, labels = tensors["W"], tensors["labels"]
        parts: dict[str, Any] = {"W": W, "labels": labels}
        return Dictionary(kind, sources, config, **parts, temporal=temporal, metadata=metadata)
    codes = tensors.pop("codes", None)
    with named("flow"):
        flow = restored(FLOWS[kind], field(header, "flow", dict), tensors)
    parts = {"flow": flow, "codes": codes}
    return Dictionary(kind, sources, config, **parts, temporal=temporal, metadata=metadata)


def _single(name: str, tensor: Tensor) -> Tensor:
    """In float32, within whose range a float64 may not lie."""
    if tensor.dtype != torch.float64:
        return tensor
    tensor = tensor.float()
    check_finite(name, tensor)
    return tensor


def _check_metadata(metadata: Mapping[str, Any]) -> None:
    """What searches and note lists will read later is legal for the kinds that it is told of."""
    readers: dict[str, Callable[[str, Any], object]] = {
        "search": lambda kind, settings: DEFAULT[kind].with_overrides(kind, **settings),
        "detection": lambda _, detection: Detection(**detection),
        "threshold": lambda _, threshold: Detection.at(threshold),
    }
    for name, read in readers.items():
        for kind, value in field({name: {}, **metadata}, name, dict).items():
            if kind not in KINDS:
                raise ValueError(f"{name} must tell of kinds, not of {kind!r}")
            with named(f"{name} of {kind}"):
                read(kind, value)
    for name in ("training", "calibration"):
        field({name: {}, **metadata}, name, dict)
