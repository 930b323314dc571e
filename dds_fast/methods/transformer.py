"""A dictionary as scikit-learn has its transformers: rows are frames, columns are bins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, check_non_negative, validate_data
from torch import Tensor

from dds_fast.arrays import Kind, as_numpy
from dds_fast.audio import Spectrogram
from dds_fast.decompose import decompose, resolve_dictionary
from dds_fast.dictionary import Dictionary


class DictionaryTransformer(TransformerMixin, BaseEstimator):
    """`dds_fast.decompose` as a transformer: frames in, source activations out.

    A spectrogram is transposed, by scikit-learn's convention: X is ``(T, F)``, a row for each frame
    of the dictionary's spectrogram, and becomes the ``(T, S)`` source activations, times the
    probability that a source sounds where the dictionary is calibrated. Nothing is learned: `fit`
    only looks whether X fits the dictionary. Frames of a call are one recording, in their order,
    and searched together: those of two recordings belong in two calls.

    Args:
        dictionary: a `Dictionary`, the path of one, or None for the packaged piano.
        n_components, max_steps, penalty, sparsity: of the search, see `dds_fast.decompose`.
        preset, precision, backend, device, random_state: likewise.

    Attributes:
        dictionary_: the `Dictionary`, after `fit`.
        n_features_in_: F.

    Example:
        >>> import dds_fast
        >>> C, E = np.eye(512)[[15, 19]]  # spectra of two sources
        >>> dictionary = dds_fast.fit({60: C[None], 64: E[None]}, kind="nmf")
        >>> model = DictionaryTransformer(dictionary)
        >>> H = model.fit_transform(np.stack([C, C, E]))
        >>> H.argmax(1), model.get_feature_names_out()
        (array([0, 0, 1]), array(['60', '64'], dtype=object))
    """

    dictionary_: Dictionary
    n_features_in_: int

    def __init__(
        self,
        dictionary: Dictionary | str | Path | None = None,
        *,
        n_components: int | None = None,
        max_steps: int | None = None,
        penalty: float | None = None,
        sparsity: float | None = None,
        preset: str | None = None,
        precision: str = "float32",
        backend: str = "auto",
        device: str | torch.device | None = None,
        random_state: int = 0,
    ) -> None:
        self.dictionary = dictionary
        self.n_components = n_components
        self.max_steps = max_steps
        self.penalty = penalty
        self.sparsity = sparsity
        self.preset = preset
        self.precision = precision
        self.backend = backend
        self.device = device
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def fit(self, X: Any, y: None = None) -> DictionaryTransformer:
        """Take the dictionary for frames like X ``(T, F)``; `y` has no meaning.

        Raises:
            ValueError: X is no matrix of finite non-negative numbers, or not of the dictionary's F.
        """
        dictionary = resolve_dictionary(self.dictionary)
        self._frames(X, reset=True)
        if self.n_features_in_ != dictionary.spectrogram.n_features:
            raise ValueError(
                f"X has {self.n_features_in_} feature(s), but {dictionary} takes frames of "
                f"{dictionary.spectrogram.n_features} bins"
            )
        self.dictionary_ = dictionary
        return self

    def transform(self, X: Any) -> Any:
        """The source activations ``(T, S)`` of frames ``(T, F)``, like X.

        Raises:
            NotFittedError: not fitted yet.
            ValueError: as of `fit`; as of `dds_fast.decompose`.
        """
        check_is_fitted(self, "dictionary_")
        frames = self._frames(X, reset=False)
        result = decompose(
            Spectrogram(frames.T, self.dictionary_.spectrogram),
            self.dictionary_,
            n_components=self.n_components,
            max_steps=self.max_steps,
            penalty=self.penalty,
            sparsity=self.sparsity,
            preset=self.preset,
            precision=self.precision,
            backend=self.backend,
            device=self.device,
            random_state=self.random_state,
        )
        H = np.ascontiguousarray(result.source_activations.T)
        return Kind.of(X).give_back(torch.from_numpy(H)) if isinstance(X, Tensor) else H

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """The sources' names.

        Raises:
            NotFittedError: not fitted yet.
        """
        check_is_fitted(self, "dictionary_")
        return np.array([str(source) for source in self.dictionary_.sources], dtype=object)

    def _frames(self, X: Any, reset: bool) -> np.ndarray:
        X = as_numpy(X) if isinstance(X, Tensor) else X
        X = validate_data(self, X, reset=reset, dtype=[np.float64, np.float32])
        check_non_negative(X, "DictionaryTransformer")
        return X
