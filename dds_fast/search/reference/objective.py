r"""The decomposition objective in plain PyTorch, with its analytic gradients.

.. math:: J = \|X - W H^+\|_F - \lambda \sum_t \sum_j \frac{H^+_{jt}}{c_t} \ell_j
              + \mu \sum_t \sum_j H^+_{jt}, \qquad c_t = \sum_j H^+_{jt} + \epsilon

(DDS paper, section III, where mu is 0; docs/method.md, The objective). Everything is held by rows,
as the flows make it: `Xt` is ``(T, F)`` and the clipped dictionary `D` is ``(J, F)`` (shared over
time) or ``(S, T, F)`` (one entry per source and frame).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Evaluation:
    """The objective at one point, with what its gradients need.

    Attributes:
        cost: J as a Python float, accumulated in float64.
        residual: ``(T, F)``, ``W H - X``.
        norm: Frobenius norm of the residual.
        attributed: ``(T,)``, the penalty's activation-weighted mean log-likelihood of each frame.
        total: ``(T,)``, c_t.
    """

    cost: float
    residual: Tensor
    norm: float
    attributed: Tensor
    total: Tensor


def reconstruct(D: Tensor, H: Tensor) -> Tensor:
    """``(T, F)`` approximation from clipped rows and clipped activations."""
    if D.ndim == 2:
        return H.T @ D
    return torch.einsum("stf,st->tf", D, H)


def _per_frame(log_likelihoods: Tensor) -> Tensor:
    return log_likelihoods[:, None] if log_likelihoods.ndim == 1 else log_likelihoods


def evaluate(
    Xt: Tensor,
    D: Tensor,
    H: Tensor,
    log_likelihoods: Tensor,
    penalty: float,
    epsilon: float,
    sparsity: float,
) -> Evaluation:
    """J at clipped `D` and `H`; `log_likelihoods` is ``(J,)`` or ``(S, T)``."""
    residual = reconstruct(D, H).sub_(Xt)
    cost = norm = float(torch.linalg.vector_norm(residual, dtype=torch.float64))
    attributed = total = H.new_zeros(H.shape[1])
    if sparsity != 0:
        cost += sparsity * float(H.sum(dtype=torch.float64))
    if penalty != 0:
        total = H.sum(0) + epsilon
        attributed = (H * _per_frame(log_likelihoods)).sum(0) / total
        cost -= penalty * float(attributed.sum(dtype=torch.float64))
    return Evaluation(cost, residual, norm, attributed, total)


def gradient_dictionary(at: Evaluation, D: Tensor, H: Tensor) -> Tensor:
    """dJ/dD, zero where the decoded entry was clipped."""
    if at.norm == 0:
        return torch.zeros_like(D)
    if D.ndim == 2:
        gradient = (H / at.norm) @ at.residual
    else:
        gradient = (H / at.norm)[..., None] * at.residual
    return gradient.mul_(D > 0)


def gradient_log_likelihoods(
    at: Evaluation, H: Tensor, log_likelihoods: Tensor, penalty: float
) -> Tensor:
    """dJ/dl, of the shape of `log_likelihoods`."""
    if penalty == 0:
        return torch.zeros_like(log_likelihoods)
    share = H / at.total
    return -penalty * (share.sum(1) if log_likelihoods.ndim == 1 else share)


def gradient_activations(
    at: Evaluation,
    D: Tensor,
    H: Tensor,
    log_likelihoods: Tensor,
    penalty: float,
    sparsity: float,
) -> Tensor:
    """dJ/dH+ (not masked where H was clipped)."""
    if at.norm == 0:
        gradient = torch.zeros_like(H)
    elif D.ndim == 2:
        gradient = D @ at.residual.T
        gradient /= at.norm
    else:
        gradient = torch.einsum("stf,tf->st", D, at.residual) / at.norm
    if penalty != 0:
        gradient -= penalty * (_per_frame(log_likelihoods) - at.attributed) / at.total
    if sparsity != 0:
        gradient += sparsity
    return gradient
