"""A trained autoencoder: what it computes, and the file that keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from dataclasses import field as attribute
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dds_fast import scalars
from dds_fast.arrays import Kind, as_tensor, isolated
from dds_fast.audio import SpectrogramConfig
from dds_fast.files import field, named, read_tensors, write_tensors
from dds_fast.methods.nae.layers import ACTIVATIONS, divergence, through

KIND = "nae"
STOP_REASONS = ("max_steps", "converged", "non-finite", "interrupted")


@dataclass(eq=False)
class NAE:
    """A non-negative autoencoder, ``X_hat = g(W_2L ... g(W_1 X))``, of one source.

    Make one with `dds_fast.methods.nae.fit` or `dds_fast.methods.nae.load`.

    Attributes:
        weights: 2 L matrices of any sign; the first L encode ``(F, T)`` to ``(K, T)``, the others
            decode.
        activation: g: "softplus", "relu" or "abs".
        scale: what spectrograms are divided by before the first layer and multiplied with after
            the last one.
        spectrogram: what the model's spectrograms are made with; None if that was not told.
        history: cost before each training step and after the last (Eq. 5, of ``X / scale``). The
            weights are those of the least one.
        stop_reason: "max_steps", "converged", "non-finite" or "interrupted".
        settings: what it was trained with.

    Example:
        >>> model = NAE((torch.rand(3, 20), torch.rand(20, 3)), activation="softplus", scale=1.0)
        >>> model
        NAE(F=20, K=3, depth=1, softplus)
        >>> H = model.encode(np.ones((20, 50)))
        >>> H.shape, model.decode(H).shape
        ((3, 50), (20, 50))
    """

    weights: tuple[Tensor, ...]
    activation: str
    scale: float
    spectrogram: SpectrogramConfig | None = None
    history: np.ndarray = attribute(default_factory=lambda: np.empty(0))
    stop_reason: str = "max_steps"
    settings: dict[str, Any] = attribute(default_factory=dict)

    def __post_init__(self) -> None:
        self.weights = tuple(self.weights)
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"NAE: activation must be one of {tuple(ACTIVATIONS)}, not {self.activation!r}"
            )
        self.scale = scalars.positive("NAE: scale", self.scale)
        kinds = {(W.dtype, W.device) for W in self.weights}
        if len(kinds) > 1 or not all(W.is_floating_point() for W in self.weights):
            raise ValueError(f"NAE: weights must be of one floating dtype on one device: {kinds}")
        shapes = [tuple(W.shape) for W in self.weights]
        fits = len(shapes) >= 2 and len(shapes) % 2 == 0 and all(len(s) == 2 for s in shapes)
        fits = fits and not any(0 in shape for shape in shapes)
        fits = fits and all(b[1] == a[0] for a, b in zip(shapes, shapes[1:], strict=False))
        if not (fits and shapes[0][1] == shapes[-1][0]):
            raise ValueError(
                f"NAE: an even number of weights must lead from F bins back to F bins: {shapes}"
            )
        if self.spectrogram is not None and self.n_features != self.spectrogram.n_features:
            raise ValueError(
                f"NAE: the weights have {self.n_features} bins, the spectrogram config "
                f"{self.spectrogram.n_features} (n_fft = 2 F)"
            )

    def __repr__(self) -> str:
        return (
            f"NAE(F={self.n_features}, K={self.n_components}, depth={self.depth}, "
            f"{self.activation})"
        )

    @property
    def n_features(self) -> int:
        """F, the number of frequency bins."""
        return self.weights[-1].shape[0]

    @property
    def depth(self) -> int:
        """L, layers of the encoder and of the decoder: 1 is the shallow autoencoder."""
        return len(self.weights) // 2

    @property
    def n_components(self) -> int:
        """K, the rank: rows of H."""
        return self.weights[self.depth].shape[1]

    @property
    def encoder(self) -> tuple[Tensor, ...]:
        """The first L weights."""
        return self.weights[: self.depth]

    @property
    def decoder(self) -> tuple[Tensor, ...]:
        """The last L weights; for the shallow autoencoder W ``(F, K)``, the templates."""
        return self.weights[self.depth :]

    @isolated()
    def encode(self, X: Any) -> Any:
        """``(K, T)`` activations H of a spectrogram ``(F, T)``, by the encoder."""
        kind, X = Kind.of(X), self._as_tensor("X", X)
        self._check_rows("encode", X, self.n_features)
        return kind.give_back(through(self.encoder, X / self.scale, self.activation))

    @isolated()
    def decode(self, H: Any) -> Any:
        """The spectrogram ``(F, T)`` of activations ``(K, T)``."""
        kind, H = Kind.of(H), self._as_tensor("H", H)
        self._check_rows("decode", H, self.n_components)
        return kind.give_back(self.scale * through(self.decoder, H, self.activation))

    @isolated()
    def divergence(self, X: Any, H: Any = None) -> float:
        """Generalised Kullback-Leibler divergence of a spectrogram from its model (Eq. 4).

        Args:
            X: ``(F, T)``.
            H: ``(K, T)`` activations; by default the encoder's.
        """
        X = self._as_tensor("X", X)
        X_hat = self.decode(self.encode(X) if H is None else self._as_tensor("H", H))
        # Homogeneous: computed where the epsilon is small beside the spectrogram.
        return self.scale * float(divergence(X / self.scale, X_hat / self.scale))

    def to(self, device: str | torch.device) -> NAE:
        """The same model on another device."""
        moved = {item.name: getattr(self, item.name) for item in fields(self)}
        return NAE(**moved | {"weights": tuple(W.to(device) for W in self.weights)})

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write a safetensors file with JSON metadata; `load` reads it.

        Raises:
            FileExistsError: the file exists and `overwrite` is false.
        """
        header = {
            "kind": KIND,
            "activation": self.activation,
            "scale": self.scale,
            "spectrogram": None if self.spectrogram is None else asdict(self.spectrogram),
            "stop_reason": self.stop_reason,
            "settings": self.settings,
        }
        tensors = {f"weights.{i}": W.contiguous() for i, W in enumerate(self.weights)}
        tensors["history"] = torch.from_numpy(self.history)
        write_tensors(path, tensors, header, overwrite=overwrite)

    def _as_tensor(self, name: str, array: Any) -> Tensor:
        return as_tensor(name, array, self.weights[0].dtype, self.weights[0].device)

    def _check_rows(self, what: str, matrix: Tensor, rows: int) -> None:
        if matrix.ndim != 2 or matrix.shape[0] != rows:
            raise ValueError(f"{what}: this {self!r} takes ({rows}, T), not {tuple(matrix.shape)}")


@isolated()
def load(path: str | Path, device: str | torch.device = "cpu") -> NAE:
    """Read an autoencoder. Only tensors and JSON are read; no code is executed.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is truncated, foreign, of a newer format, or its parts do not fit.

    Example:
        >>> import tempfile
        >>> model = NAE((torch.rand(3, 20), torch.rand(20, 3)), activation="softplus", scale=1.0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(f"{folder}/piano.safetensors")
        ...     load(f"{folder}/piano.safetensors")
        NAE(F=20, K=3, depth=1, softplus)
    """
    header, tensors = read_tensors(path)
    if header.get("kind") != KIND:
        raise ValueError(
            f"{path} holds a dictionary of kind {header.get('kind')!r}, not an autoencoder; "
            "dds_fast.load reads it"
        )
    with named(f"{path} is damaged or inconsistent"):
        return _from_parts(header, tensors).to(device)


def _from_parts(header: Mapping[str, Any], tensors: dict[str, Tensor]) -> NAE:
    config = None
    if header.get("spectrogram", "") is not None:
        with named("spectrogram"):
            config = SpectrogramConfig.stored(field(header, "spectrogram", dict))
    stop_reason = field(header, "stop_reason", str)
    if stop_reason not in STOP_REASONS:
        raise ValueError(f"stop_reason must be one of {STOP_REASONS}, not {stop_reason!r}")
    history = tensors.pop("history", None)
    if history is None or history.ndim != 1 or not history.is_floating_point():
        raise ValueError("history must be there, a row of floats")
    names = [f"weights.{i}" for i in range(len(tensors))]
    if tensors.keys() != set(names):
        raise ValueError(f"the tensors must be history and weights.0, ..., not {sorted(tensors)}")
    if not all(W.is_floating_point() for W in tensors.values()):
        raise ValueError("weights must hold floats")
    widest = reduce(torch.promote_types, (W.dtype for W in tensors.values()), torch.float32)
    return NAE(
        tuple(tensors[name].to(widest) for name in names),
        field(header, "activation", str),
        scalars.positive("scale", field(header, "scale", object)),
        config,
        history.double().numpy(),
        stop_reason,
        field(header, "settings", dict),
    )
