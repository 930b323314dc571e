"""NMF goes where scikit-learn's own transformers go."""

from __future__ import annotations

from typing import Any

import librosa
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import NMF as scikit_learn
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from dds_fast import nmf


def frames(T: int = 60, F: int = 40) -> np.ndarray:
    """Frames of five spectra, the third of the time of the first, without zeros."""
    rng = np.random.default_rng(0)
    H = rng.random((T, 5)) * (rng.random((T, 5)) < 0.4)
    return H @ rng.random((5, F)) ** 4 + 0.01


@parametrize_with_checks([nmf.NMF(3), nmf.NMF(3, loss="kl", alpha_W=0.01, l1_ratio=0.5)])
def test_scikit_learns_contract(estimator: Any, check: Any) -> None:
    check(estimator)


def test_is_factorize() -> None:
    X = frames()
    model = nmf.NMF(3, loss="kl", init="nndsvda", n_steps=30, tolerance=0).fit(X)
    expected = nmf.factorize(X.T, 3, loss="kl", init="nndsvda", n_steps=30, tolerance=0)
    np.testing.assert_array_equal(model.components_.T, expected.W)
    assert model.history_ == expected.history


def test_regularises_as_scikit_learn() -> None:
    X = frames()
    options = {"n_components": 4, "init": "nndsvda", "alpha_W": 2e-3, "alpha_H": 1e-3}
    ours = nmf.NMF(**options, l1_ratio=0.4, loss="kl", n_steps=200, tolerance=0)
    theirs = scikit_learn(
        **options, l1_ratio=0.4, beta_loss="kullback-leibler", solver="mu", max_iter=200, tol=0
    ).fit(X)
    np.testing.assert_allclose(ours.fit(X).components_, theirs.components_, rtol=1e-4, atol=1e-6)
    same = clone(ours).set_params(alpha_H="same").fit(X).components_
    assert np.abs(same - ours.components_).max() > 1e-3


@pytest.mark.parametrize("options", [{}, {"loss": "kl"}, {"sparsity": 1e-3}], ids=str)
def test_transform_explains_frames_by_the_components(options: dict[str, Any]) -> None:
    X = frames()
    model = nmf.NMF(5, n_steps=500, **options).fit(X)
    before = model.components_.copy()
    H = np.random.default_rng(3).random((7, 5))
    found = model.inverse_transform(model.transform(H @ before))
    np.testing.assert_allclose(found, H @ before, rtol=0.05, atol=5e-3)
    np.testing.assert_array_equal(model.components_, before)


def test_pipeline_and_search_over_parameters() -> None:
    X = frames()
    y = X[:, 0] > np.median(X[:, 0])
    model = make_pipeline(nmf.NMF(2), LogisticRegression(C=100))
    grid = GridSearchCV(model, {"nmf__n_components": [1, 5], "nmf__loss": ["kl"]}, cv=3).fit(X, y)
    assert grid.best_params_ == {"nmf__n_components": 5, "nmf__loss": "kl"}
    assert grid.best_estimator_.score(X, y) > 0.8
    assert clone(grid.best_estimator_).get_params()["nmf__n_components"] == 5


def test_librosa_takes_it() -> None:
    X = frames()
    W, H = librosa.decompose.decompose(X.T, transformer=nmf.NMF(5), sort=True)
    assert W.shape == (40, 5) and H.shape == (5, 60)
    assert np.linalg.norm(W @ H - X.T) < 0.1 * np.linalg.norm(X)


def test_tensors_come_back_as_tensors() -> None:
    X = torch.from_numpy(frames()).float()
    model = nmf.NMF(3, n_steps=20)
    H = model.fit_transform(X)
    assert isinstance(H, torch.Tensor) and H.dtype == torch.float32 and H.shape == (60, 3)
    np.testing.assert_array_equal(H, model.transform(X.numpy()))
    torch.testing.assert_close(model.inverse_transform(H), H @ torch.from_numpy(model.components_))


def test_random_states() -> None:
    X = frames()
    first, again = (
        nmf.NMF(3, random_state=np.random.RandomState(5), n_steps=3).fit(X).components_
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(nmf.NMF(3, n_steps=3).fit(X).components_ - first).max() > 0
    assert nmf.NMF(3, random_state=None, n_steps=3).fit(X).components_.shape == (3, 40)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha_W": -1.0}, "alpha_W must be finite and not negative"),
        ({"alpha_H": "other"}, "alpha_H must be a number"),
        ({"l1_ratio": 1.5}, "l1_ratio must be at most 1"),
        ({"n_components": 0}, "above 0"),
        ({"loss": "beta"}, "loss must be one of"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nmf.NMF(**{"n_components": 3, **options}).fit(frames())
