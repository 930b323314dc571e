"""A dictionary goes where scikit-learn's own transformers go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from tiny import CONFIG, KINDS, dictionary

import dds_fast
from dds_fast.methods import DictionaryTransformer


def frames(T: int = 20) -> np.ndarray:
    return np.random.default_rng(0).random((T, 64))


class OfAnyWidth(DictionaryTransformer):
    """For scikit-learn's checks, whose frames have from one to a hundred bins: an nmf dictionary of
    the width of what it is fitted on."""

    def fit(self, X: Any, y: None = None) -> OfAnyWidth:
        width = max(2, *np.asarray(X).shape[1:], 0)  # 0-d if sparse
        notes = {60: np.ones((1, width)), 64: 0.5 + np.arange(width)[None] % 2}
        config = dds_fast.SpectrogramConfig.for_features(width)
        given, self.dictionary = self.dictionary, dds_fast.fit(notes, "nmf", spectrogram=config)
        try:
            super().fit(X, y)
        finally:
            self.dictionary = given
        return self


TOGETHER = "the frames of a call are searched together, under one schedule of steps"


def expected_failures(_: BaseEstimator) -> dict[str, str]:
    return dict.fromkeys(
        ("check_methods_subset_invariance", "check_methods_sample_order_invariance"), TOGETHER
    )


@parametrize_with_checks(
    [OfAnyWidth(max_steps=3, device="cpu")], expected_failed_checks=expected_failures
)
def test_scikit_learns_contract(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("kind", KINDS)
def test_is_decompose(kind: str, tmp_path: Path) -> None:
    X = frames()
    model = dictionary(kind)
    options = {"max_steps": 3, "random_state": 7, "precision": "float64"}
    expected = dds_fast.decompose(dds_fast.Spectrogram(X.T, CONFIG), model, **options)
    model.save(tmp_path / "model.safetensors")
    for given in (model, tmp_path / "model.safetensors"):
        found = DictionaryTransformer(given, **options).fit_transform(X)
        np.testing.assert_array_equal(found, expected.source_activations.T)


def test_tensors_come_back_as_tensors() -> None:
    X = torch.from_numpy(frames()).float()
    found = DictionaryTransformer(dictionary("nmf"), max_steps=2).fit_transform(X)
    assert isinstance(found, torch.Tensor) and found.dtype == torch.float32
    assert found.shape == (20, 3)


def test_pipeline_and_search_over_parameters() -> None:
    X = frames()
    y = X[:, 0] > 0.5
    model = make_pipeline(DictionaryTransformer(dictionary("nmf")), LogisticRegression())
    grid = {"dictionarytransformer__max_steps": [1, 5]}
    found = GridSearchCV(model, grid, cv=2).fit(X, y).best_estimator_
    assert clone(found)[0].max_steps == found[0].max_steps in (1, 5)
    assert found[:1].get_feature_names_out().tolist() == ["60", "64", "67"]


def test_librosa_takes_it() -> None:
    """But for the components, which a flow has in no single matrix."""
    model = DictionaryTransformer(dictionary("dds2"), max_steps=3).fit(frames())
    with pytest.raises(AttributeError, match="components_"):
        librosa.decompose.decompose(frames().T, transformer=model)


def test_another_width_and_no_fit() -> None:
    model = DictionaryTransformer(dictionary("nmf"))
    with pytest.raises(ValueError, match=r"X has 5 feature\(s\), .* takes frames of 64"):
        model.fit(np.ones((3, 5)))
    with pytest.raises(NotFittedError):
        model.transform(frames())
    with pytest.raises(NotFittedError):
        model.get_feature_names_out()
