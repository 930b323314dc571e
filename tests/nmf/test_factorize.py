"""Activations of a fixed dictionary, and both factors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition._nmf import _initialize_nmf
from studies.factorize import ratio, scikit_learn
from torch import Tensor

from dds_fast import nmf
from dds_fast.choices import INITS
from dds_fast.nmf.multiplicative import LOSSES, divergence


def make(F: int = 42, J: int = 60, T: int = 9) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    W = torch.rand(F, J, generator=generator) ** 3
    H = torch.rand(J, T, generator=generator) * (torch.rand(J, T, generator=generator) < 0.1)
    return W @ H + 0.05 * torch.rand(F, T, generator=generator), W


def test_least_squares_is_below_multiplicative_updates() -> None:
    X, W = make()
    H, history = nmf.activations(X, W)
    assert history[-1] == pytest.approx(divergence(X, W, H, "euclidean"), rel=1e-5)
    start = torch.full_like(H, 0.1)
    _, slow = nmf.activations(X, W, H=start, n_steps=500, tolerance=0.0)
    assert history[-1] < slow[-1] < 2 * history[-1]


@pytest.mark.parametrize("loss", LOSSES)
def test_score_is_kept(loss: str) -> None:
    X, W = make()
    start = (torch.rand(60, 9) < 0.3).float()
    H, history = nmf.activations(X, W, loss=loss, H=start, n_steps=25, tolerance=0.0)
    assert not H[start == 0].any()
    assert len(history) == 4  # the initial one, after 10, 20 and 25 updates
    assert history == sorted(history, reverse=True)
    assert history[-1] == pytest.approx(divergence(X, W, H, loss), rel=1e-6)


def test_tolerance_stops() -> None:
    X, W = make()
    _, history = nmf.activations(X, W, loss="kl", n_steps=1000, tolerance=0.01)
    assert len(history) < 101
    falls = [(a - b) / a for a, b in zip(history, history[1:], strict=False)]
    assert falls[-1] <= 0.01 and min(falls[:-1]) > 0.01


@pytest.mark.parametrize("loss", LOSSES)
def test_silence(loss: str) -> None:
    X, W = make()
    H, history = nmf.activations(torch.zeros_like(X), W, loss=loss)
    assert not H.any() and history[-1] == pytest.approx(0, abs=1e-3)
    H, _ = nmf.activations(X, torch.zeros_like(W), loss=loss)
    assert H.isfinite().all()


def test_bad_arguments_are_refused() -> None:
    X, W = make()
    with pytest.raises(ValueError, match="activations: loss must be one of"):
        nmf.activations(X, W, loss="itakura")
    with pytest.raises(ValueError, match="activations: shapes do not fit"):
        nmf.activations(X, W.T)
    with pytest.raises(ValueError, match="activations: X holds 378 negative"):
        nmf.activations(-1 - X, W)


BETA = {"euclidean": 2, "kl": 1, "is": 0}
RNG = np.random.default_rng


def start(F: int = 40, J: int = 5, T: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X of full rank without small entries, W and H, in float64."""
    rng = RNG(0)
    return rng.random((F, T)) + 0.1, rng.random((F, J)) + 0.1, rng.random((J, T)) + 0.1


class TestFactorize:
    @pytest.mark.parametrize("loss", LOSSES)
    def test_agrees_with_scikit_learn(self, loss: str) -> None:
        X, W, H = start()
        expected = scikit_learn(X, W, H, 50, beta_loss=BETA[loss])
        found = nmf.factorize(X, loss=loss, W=W, H=H, n_steps=50, tolerance=0)
        assert found.W.dtype == np.float64
        assert ratio(found.W, expected[0]) < 1e-5 and ratio(found.H, expected[1]) < 1e-5

    @pytest.mark.parametrize("loss", LOSSES)
    def test_sparsity_agrees_with_scikit_learn(self, loss: str) -> None:
        # With columns of unit norm, its penalty alpha F ||H||_1 on the activations is this. Where
        # the other factor is fixed, it adds it anew at every Kullback-Leibler step: so one step.
        n = 1 if loss == "kl" else 50
        X, W, H = start()
        W /= np.linalg.norm(W, axis=0)
        H = np.full_like(H, np.sqrt(X.mean() / 5))  # where it starts if the other factor is fixed
        options = {"alpha_W": 0.4 / len(X), "alpha_H": 0.0, "l1_ratio": 1.0, "update_H": False}
        expected = scikit_learn(X, W, H, n, beta_loss=BETA[loss], **options)[1]
        found = nmf.factorize(
            X, loss=loss, W=W, H=H, fixed="W", sparsity=0.4, n_steps=n, tolerance=0
        )
        assert ratio(found.H, expected) < 1e-5

    @pytest.mark.parametrize("loss", LOSSES)
    def test_regularisation_agrees_with_scikit_learn(self, loss: str) -> None:
        X, W, H = start()
        options = {"alpha_W": 0.01, "alpha_H": 0.02, "l1_ratio": 0.3}
        expected = scikit_learn(X, W, H, 50, beta_loss=BETA[loss], **options)
        weights = 0.02 * X.shape[1], 0.01 * X.shape[0]  # of W, which it calls H, and of H
        found = nmf.factorize(
            X,
            loss=loss,
            W=W,
            H=H,
            l1=tuple(0.3 * weight for weight in weights),
            l2=tuple(0.7 * weight for weight in weights),
            n_steps=50,
            tolerance=0,
        )
        plain = nmf.factorize(X, loss=loss, W=W, H=H, n_steps=50, tolerance=0)
        for given, other, theirs in zip(found[:2], plain[:2], expected, strict=True):
            assert ratio(given, theirs) < 1e-5 < ratio(other, theirs)

    @pytest.mark.parametrize("init", INITS[1:])
    def test_singular_vectors_are_scikit_learns(self, init: str) -> None:
        _, W, H = start()
        X = W @ H  # of which its random projections miss nothing
        expected = _initialize_nmf(X, 5, init="nndsvda" if init == "nndsvda" else "nndsvd")
        for matrix, other in ((X, expected), (X.T, [factor.T for factor in reversed(expected)])):
            found = nmf.factorize(matrix, 5, init=init, n_steps=0)
            for given, theirs in zip(found[:2], other, strict=True):
                filled = (init == "nndsvdar") & (theirs == 0)
                assert ratio(np.where(filled, 0, given), theirs) < 1e-6
                assert (given[filled] > 0).all() and given[filled].max(initial=0) < 0.1

    def test_singular_vectors_of_few_rows(self) -> None:
        X = np.outer(np.arange(1.0, 4.0), np.ones(9))  # of rank 1
        W, H, *_ = nmf.factorize(X, 2, init="nndsvd", n_steps=0)
        np.testing.assert_allclose(W @ H, X, atol=1e-6)

    def test_is_the_tutorials_iteration(self) -> None:
        X, W, H = start()
        found = nmf.factorize(X, W=W, H=H, n_steps=30, tolerance=0)
        eps = np.finfo(np.float32).eps
        for _ in range(30):
            H = H * (W.T @ X) / (W.T @ W @ H + eps)
            W = W * (X @ H.T) / (W @ H @ H.T + eps)
        assert ratio(found.W, W) < 1e-12 and ratio(found.H, H) < 1e-12

    @pytest.mark.parametrize("loss", ["euclidean", "kl"])
    def test_compiled_updates_agree(self, loss: str) -> None:
        X, W, H = start()
        exact = nmf.factorize(X, loss=loss, W=W, H=H, n_steps=20, tolerance=0)
        single = [a.astype(np.float32) for a in (X, W, H)]
        found = nmf.factorize(
            single[0],
            loss=loss,
            W=single[1],
            H=single[2],
            n_steps=20,
            tolerance=0,
            backend="cpu",
        )
        assert found.W.dtype == np.float32
        # Twenty steps of updates that each agree to about 2e-7.
        assert ratio(found.W @ found.H, exact.W @ exact.H) < 4e-6

    @pytest.mark.parametrize("loss", LOSSES)
    def test_loss_falls_and_its_history_is_kept(self, loss: str) -> None:
        X, _, _ = start()
        W, H, history, stop_reason = nmf.factorize(
            X, 5, loss=loss, n_steps=40, tolerance=0, check_every=1
        )
        assert len(history) == 41 and stop_reason == "max_steps"
        assert all(b <= a * (1 + 1e-9) for a, b in zip(history, history[1:], strict=False))
        tensors = [torch.from_numpy(a) for a in (X, W, H)]
        assert history[-1] == pytest.approx(divergence(*tensors, loss))

    @pytest.mark.parametrize("fixed", [None, "W"])
    def test_penalised_objective_falls(self, fixed: str | None) -> None:
        X, W, H = start()

        def objective(n: int, sparsity: float = 3.0) -> float:
            W1, H1, *_ = nmf.factorize(
                X, W=W, H=H, fixed=fixed, sparsity=sparsity, n_steps=n, tolerance=0
            )
            penalty = (np.linalg.norm(W1, axis=0)[:, None] * H1).sum()
            return 0.5 * np.linalg.norm(X - W1 @ H1) ** 2 + 3.0 * penalty

        values = [objective(n) for n in range(12)]
        assert all(b < a for a, b in zip(values, values[1:], strict=False))
        assert objective(60) < objective(60, sparsity=0.0)

    @pytest.mark.parametrize("fixed", ["W", "H"])
    def test_a_fixed_factor_stays(self, fixed: str) -> None:
        X, W, H = start()
        found = nmf.factorize(X, W=W, H=H, fixed=fixed, n_steps=5)
        assert np.array_equal(found.W, W) == (fixed == "W")
        assert np.array_equal(found.H, H) == (fixed == "H")

    @pytest.mark.parametrize("loss", LOSSES)
    def test_masks_are_kept(self, loss: str) -> None:
        X, W, _ = start()
        X[3] = 0
        W_mask, H_mask = RNG(1).random((40, 5)) < 0.5, RNG(2).random((5, 60)) < 0.5
        for given in (None, W):
            found = nmf.factorize(X, loss=loss, W=given, W_mask=W_mask, H_mask=H_mask)
            assert not found.W[~W_mask].any() and not found.H[~H_mask].any()
            assert np.isfinite(found.W).all() and found.history[-1] < found.history[0]

    def test_random_start_is_seeded_and_of_the_right_size(self) -> None:
        X = start()[0]
        first, again, other = (nmf.factorize(X, 5, n_steps=0, random_state=s) for s in (0, 0, 1))
        assert np.array_equal(first.W, again.W) and not np.array_equal(first.W, other.W)
        assert (first.W @ first.H).mean() == pytest.approx(X.mean(), rel=0.1)

    def test_stops_by_change(self) -> None:
        X = start()[0]
        for check_every, span in ((1, 10), (10, 1), (20, 1)):
            *_, history, stop_reason = nmf.factorize(
                X, 5, n_steps=1000, tolerance=0.01, check_every=check_every
            )
            assert stop_reason == "converged" and len(history) < 1000 / check_every
            falls = [1 - b / a for a, b in zip(history, history[span:], strict=False)]
            assert falls[-1] <= 0.01 and min(falls[:-1]) > 0.01

    def test_tensors_stay_tensors(self) -> None:
        X = torch.from_numpy(start()[0]).float()
        found = nmf.factorize(X, 3, n_steps=3)
        assert isinstance(found.W, Tensor) and found.H.dtype == torch.float32

    def test_silence(self) -> None:
        for loss in LOSSES:
            W, H, history, _ = nmf.factorize(np.zeros((6, 4)), 2, loss=loss)
            assert not (W @ H).any() and np.isfinite(history).all()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({}, "they say nothing"),
            ({"n_components": 0}, "above 0"),
            ({"n_components": 4, "W": np.ones((40, 5))}, r"they say \[4, 5\]"),
            ({"W": np.ones((39, 5))}, "shapes do not fit"),
            ({"n_components": 4, "fixed": "W"}, "fixed='W' needs W"),
            ({"n_components": 4, "fixed": "X"}, "fixed must be"),
            ({"n_components": 4, "sparsity": -1.0}, "sparsity must be"),
            ({"n_components": 4, "l1": 0.1}, "l1 must be two numbers"),
            ({"n_components": 4, "l2": (0.1, -0.1)}, "l2 must be finite and not negative"),
            ({"n_components": 4, "init": "svd"}, "init must be one of"),
            ({"n_components": 41, "init": "nndsvd"}, "at most 40 components"),
            ({"W": np.ones((40, 5)), "init": "nndsvd"}, "but one was given"),
            ({"n_components": 4, "check_every": 0}, "check_every must be"),
            ({"n_components": 4, "loss": "beta"}, "loss must be one of"),
            ({"n_components": 4, "loss": "is", "backend": "cpu"}, "'is'.*has no backend 'cpu'"),
            ({"n_components": 4, "backend": "cpu"}, "float64"),
        ],
    )
    def test_bad_options(self, options: dict, message: str) -> None:
        with pytest.raises((ValueError, RuntimeError), match=message):
            nmf.factorize(start()[0], **options)

    def test_bad_input(self) -> None:
        X = start()[0]
        for bad, message in [
            (np.where(X == X[2, 3], np.nan, X), r"X holds 1 NaN or infinite, first at \(2, 3\)"),
            (np.where(X == X[2, 3], -1, X), r"X holds 1 negative, first at \(2, 3\)"),
            (np.ones((4, 0)), r"\(4, 0\)"),
            (np.ones(4), r"\(4,\)"),
            (np.ones((4, 4), int), "int64"),
        ]:
            with pytest.raises(ValueError, match=message):
                nmf.factorize(bad, 3)
