"""Activations of a fixed dictionary."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dds_fast.methods import nmf
from dds_fast.ops.multiplicative import LOSSES, divergence


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
        nmf.activations(X, W, loss="is")
    with pytest.raises(ValueError, match="activations: shapes do not fit"):
        nmf.activations(X, W.T)
    with pytest.raises(ValueError, match="activations: X holds 378 negative"):
        nmf.activations(-1 - X, W)
