"""Differentiable Dictionary Search: the dictionary is decoded from latent codes by flows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dds_fast.ops.frozen import FrozenFlow
from dds_fast.ops.objective import EPSILON_PER_FRAME, EPSILON_SHARED
from dds_fast.ops.update_step import Problem


def _random_activations(X: Tensor, n_rows: int, random_state: int) -> Tensor:
    """``U[0, 1) sqrt(mean(X) / rows)``, drawn on the CPU so that devices agree."""
    generator = torch.Generator().manual_seed(random_state)
    H = torch.rand(n_rows, X.shape[1], generator=generator, dtype=torch.float64)
    return H.to(X) * torch.sqrt(X.mean() / n_rows)


def problem(
    X: Tensor,
    flow: FrozenFlow,
    kind: str,
    *,
    n_sources: int,
    n_components: int | None,
    penalty: float,
    sparsity: float = 0.0,
    likelihood: str = "latent",
    random_state: int = 0,
) -> Problem:
    """A DDS search problem (DDS paper, section III-B; spec. 3 to 6).

    Args:
        X: ``(F, T)`` spectrogram.
        flow: frozen bank of S flows (dds1, dds2) or one Glow (dds3).
        kind: "dds1" (one entry per source and frame), "dds2" (K entries per source from its own
            flow) or "dds3" (K entries per source from one class-conditional flow).
        n_sources: S.
        n_components: K; None for dds1.
        penalty: weight lambda of the likelihood penalty.
        sparsity: weight mu of ``mu / sqrt(T) * sum(H)``, which the paper does not have.
        likelihood: "latent", or "data" with the log-determinant.
        random_state: seed of the initial activations.
    """
    S, F, T = n_sources, flow.n_features, X.shape[1]
    sparsity = sparsity / math.sqrt(T)
    if kind == "dds1":
        return Problem(
            X,
            _random_activations(X, S, random_state),
            epsilon=EPSILON_PER_FRAME,
            penalty=penalty,
            sparsity=sparsity,
            flow=flow,
            Z=X.new_zeros(S, T, F),
            per_frame=True,
            likelihood=likelihood,
        )
    assert n_components is not None
    J = S * n_components
    if kind == "dds2":
        Z, n_fixed = X.new_zeros(S, n_components, F), 0
    else:
        Z, n_fixed = X.new_zeros(1, J, F), S
        Z[0, torch.arange(J), torch.arange(J) // n_components] = 1
    return Problem(
        X,
        _random_activations(X, J, random_state),
        epsilon=EPSILON_SHARED,
        penalty=penalty,
        sparsity=sparsity,
        flow=flow,
        Z=Z,
        n_fixed=n_fixed,
        likelihood=likelihood,
    )
