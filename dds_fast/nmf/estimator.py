"""NMF as scikit-learn has its estimators: rows are frames, columns are bins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import (
    check_is_fitted,
    check_non_negative,
    check_random_state,
    validate_data,
)
from torch import Tensor

from dds_fast import scalars
from dds_fast.arrays import Kind, as_numpy
from dds_fast.nmf.factorize import activations, factorize

if TYPE_CHECKING:
    from typing import Self

DTYPES = [np.float64, np.float32]


class NMF(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """`factorize` as an estimator: learn components on some frames, find their activations in more.

    Spectrograms are transposed, by scikit-learn's convention: X is ``(T, F)``, a row for each
    frame, approximated by ``H components_`` with activations H ``(T, J)``. It goes where
    scikit-learn's own transformers go: `sklearn.base.clone`, pipelines, searches over parameters,
    ``librosa.decompose.decompose(transformer=)``.

    `transform` finds the activations of each frame by themselves, whatever frames lie beside it:
    by non-negative least squares, or, with another loss or a penalty, by `n_steps` multiplicative
    updates from the same start. What `fit_transform` returns is what `transform` does.

    Args:
        n_components: J; None for as many as there are bins.
        loss: "euclidean", "kl" or "is", see `factorize`.
        init: "random", "nndsvd", "nndsvda" or "nndsvdar", see `factorize`.
        sparsity: see `factorize`.
        alpha_W: weight of the regularisation of the activations, which scikit-learn calls W; as
            there, times the number of bins.
        alpha_H: that of the components, which it calls H, times the number of frames; "same" for
            `alpha_W`.
        l1_ratio: share of L1 in both, the rest is L2.
        n_steps: most updates.
        tolerance: of `fit`, see `factorize`.
        random_state: a seed, None, or a ``numpy.random.RandomState``.
        backend: see `factorize`.
        device: see `factorize`; least squares run on the CPU.

    Attributes:
        components_: ``(J, F)`` after `fit`.
        history_: the loss during `fit`, see `Factorization`.
        n_features_in_: F.

    Source: as of `factorize`; scikit-learn's ``sklearn.decomposition.NMF`` for the regularisation.

    Example:
        >>> X = np.random.default_rng(0).random((30, 20))  # 30 frames
        >>> model = NMF(3, loss="kl").fit(X)
        >>> H = model.transform(X[:5])
        >>> H.shape, model.components_.shape, model.inverse_transform(H).shape
        ((5, 3), (3, 20), (5, 20))
    """

    components_: np.ndarray
    history_: list[float]
    n_features_in_: int

    def __init__(
        self,
        n_components: int | None = None,
        *,
        loss: str = "euclidean",
        init: str = "random",
        sparsity: float = 0.0,
        alpha_W: float = 0.0,
        alpha_H: float | str = "same",
        l1_ratio: float = 0.0,
        n_steps: int = 200,
        tolerance: float = 1e-4,
        random_state: int | np.random.RandomState | None = 0,
        backend: str = "auto",
        device: str | torch.device | None = None,
    ) -> None:
        self.n_components = n_components
        self.loss = loss
        self.init = init
        self.sparsity = sparsity
        self.alpha_W = alpha_W
        self.alpha_H = alpha_H
        self.l1_ratio = l1_ratio
        self.n_steps = n_steps
        self.tolerance = tolerance
        self.random_state = random_state
        self.backend = backend
        self.device = device

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def fit(self, X: Any, y: None = None) -> Self:
        """Learn the components of frames ``(T, F)``; `y` has no meaning.

        Raises:
            ValueError: X is no matrix of finite non-negative numbers; as of `factorize`.
        """
        X = self._frames(X, reset=True)
        _, l1, l2 = self._penalties(len(X))
        seed = self.random_state
        if seed is None or isinstance(seed, np.random.RandomState):
            seed = int(check_random_state(seed).randint(np.iinfo(np.int32).max))
        result = factorize(
            X.T,
            X.shape[1] if self.n_components is None else self.n_components,
            init=self.init,
            sparsity=self.sparsity,
            l1=l1,
            l2=l2,
            tolerance=self.tolerance,
            random_state=seed,
            **self._computed(),
        )
        self.components_, self.history_ = np.ascontiguousarray(result.W.T), result.history
        return self

    def transform(self, X: Any) -> Any:
        """The activations ``(T, J)`` of frames ``(T, F)``, with the components as they are.

        Raises:
            NotFittedError: not fitted yet.
            ValueError: another number of bins; as of `fit`.
        """
        check_is_fitted(self)
        kind = Kind.of(X) if isinstance(X, Tensor) else None
        X = self._frames(X, reset=False)
        W = self.components_.T.astype(X.dtype)
        penalised, l1, l2 = self._penalties(len(X))
        if self.loss == "euclidean" and not penalised:
            H, _ = activations(X.T, W, n_steps=self.n_steps, tolerance=0.0, backend=self.backend)
        else:
            # Each frame begins at its own level.
            level = X.mean(1) / max(W.sum(1).mean(), np.finfo(W.dtype).tiny)
            start = np.tile(level, (W.shape[1], 1)).astype(X.dtype)
            H = factorize(
                X.T,
                W=W,
                H=start,
                fixed="W",
                sparsity=self.sparsity,
                l1=l1,
                l2=l2,
                tolerance=0.0,
                **self._computed(),
            ).H
        H = np.ascontiguousarray(H.T)
        return H if kind is None else kind.give_back(torch.from_numpy(H))

    def inverse_transform(self, H: Any) -> Any:
        """The approximation ``(T, F)`` of frames by activations ``(T, J)``.

        Raises:
            NotFittedError: not fitted yet.
        """
        check_is_fitted(self)
        if isinstance(H, Tensor):
            return Kind.of(H).give_back(torch.from_numpy(as_numpy(H) @ self.components_))
        return np.asarray(H) @ self.components_

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def _frames(self, X: Any, reset: bool) -> np.ndarray:
        X = as_numpy(X) if isinstance(X, Tensor) else X
        X = validate_data(self, X, reset=reset, dtype=DTYPES)
        check_non_negative(X, "NMF")
        return X

    def _penalties(self, n_frames: int) -> tuple[bool, tuple[float, float], tuple[float, float]]:
        """Whether there are any on the activations; L1 and L2 of components and activations."""
        alpha_W = scalars.not_negative("NMF: alpha_W", self.alpha_W)
        alpha_H = alpha_W
        if self.alpha_H != "same":
            alpha_H = scalars.not_negative("NMF: alpha_H", self.alpha_H)
        ratio = scalars.not_negative("NMF: l1_ratio", self.l1_ratio)
        if ratio > 1:
            raise ValueError(f"NMF: l1_ratio must be at most 1, not {self.l1_ratio!r}")
        of_components, of_activations = n_frames * alpha_H, self.n_features_in_ * alpha_W
        return (
            bool(alpha_W or self.sparsity),
            (of_components * ratio, of_activations * ratio),
            (of_components * (1 - ratio), of_activations * (1 - ratio)),
        )

    def _computed(self) -> dict[str, Any]:
        return {
            "loss": self.loss,
            "n_steps": self.n_steps,
            "backend": self.backend,
            "device": self.device,
        }
