"""The decomposition objective: residual norm and activation-weighted likelihood penalty."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dds_fast import arrays, memory, scalars
from dds_fast.ops.once import once
from dds_fast.search.problem import EPSILON_PER_FRAME, EPSILON_SHARED
from dds_fast.search.reference import objective as reference


class _Objective(torch.autograd.Function):
    @staticmethod
    @arrays.isolated()
    def forward(
        ctx: Any,
        W: Tensor,
        H: Tensor,
        log_likelihoods: Tensor,
        X: Tensor,
        penalty: float,
        epsilon: float,
        sparsity: float,
    ) -> Tensor:
        D, active = W.transpose(-1, -2).clamp_min(0), H.clamp_min(0)
        at = reference.evaluate(X.T, D, active, log_likelihoods, penalty, epsilon, sparsity)
        ctx.at, ctx.D, ctx.active, ctx.log_likelihoods = at, D, active, log_likelihoods
        ctx.penalty, ctx.sparsity = penalty, sparsity
        return torch.tensor(at.cost, dtype=torch.float64, device=X.device)

    @staticmethod
    @arrays.isolated()
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        at, D, active, likelihoods = ctx.at, ctx.D, ctx.active, ctx.log_likelihoods
        with torch.no_grad():
            grad = grad.to(D.dtype)
            to_W = grad * reference.gradient_dictionary(at, D, active).transpose(-1, -2)
            to_H = reference.gradient_activations(
                at, D, active, likelihoods, ctx.penalty, ctx.sparsity
            )
            to_H = grad * (to_H * (active > 0))
            to_l = grad * reference.gradient_log_likelihoods(at, active, likelihoods, ctx.penalty)
        gradients = (once(g, "objective") for g in (to_W, to_H, to_l))
        return (*gradients, None, None, None, None)


def objective(
    X: Tensor,
    W: Tensor,
    H: Tensor,
    log_likelihoods: Tensor,
    *,
    penalty: float,
    epsilon: float | None = None,
    sparsity: float = 0.0,
    backend: str = "auto",
) -> Tensor:
    r"""``||X - max(W, 0) max(H, 0)||_F`` minus the activation-weighted likelihood penalty.

    Gradients flow to W, H and the log-likelihoods, once (no double backward). The norm is not
    squared; where it is zero its gradient is zero.

    Args:
        X: ``(F, T)`` spectrogram.
        W: decoded dictionary before clipping, ``(F, J)``, or ``(S, F, T)`` with one entry per
            source and frame (DDS-1).
        H: ``(J, T)`` or ``(S, T)`` activations before clipping.
        log_likelihoods: nats per dimension of each entry, ``(J,)`` or ``(S, T)``.
        penalty: weight lambda.
        epsilon: added to the per-frame sum of activations; by default 1e-3 for a shared
            dictionary and 1e-7 for one per frame.
        sparsity: weight mu of the sum of the activations (0 in the paper).
        backend: "auto" or "reference", which is the only one.

    Returns:
        The cost, a float64 scalar tensor.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together; illegal numbers; unknown
            `backend`.
        MemoryError: it does not fit, with its size.

    Source: DDS paper (arXiv 2211.15524), section III.

    Example:
        >>> import torch
        >>> X, W, H = torch.rand(6, 4), torch.rand(6, 3), torch.rand(3, 4)
        >>> cost = objective(X, W, H, torch.zeros(3), penalty=1e-4)
        >>> torch.allclose(cost.float(), torch.linalg.norm(X - W @ H))
        True
    """
    if backend not in ("auto", "reference"):
        raise ValueError(f"objective has no backend {backend!r}; it has reference")
    given = {"X": X, "W": W, "H": H, "log_likelihoods": log_likelihoods}
    X, W, H, log_likelihoods = (arrays.plain(f"objective: {n}", t) for n, t in given.items())
    for name, tensor in given.items():
        legal = X.dtype in (torch.float32, torch.float64)
        if not legal or (tensor.dtype, tensor.device) != (X.dtype, X.device):
            raise ValueError(
                f"objective: X is {X.dtype} on {X.device}, {name} is {tensor.dtype} on "
                f"{tensor.device}; they must be of one dtype, float32 or float64, on one device"
            )
    per_frame = W.ndim == 3
    if X.ndim != 2 or W.ndim not in (2, 3) or H.ndim != 2:
        raise ValueError(
            f"objective: X, W and H must be (F, T), (F, J) or (S, F, T), and (J, T), not "
            f"{tuple(X.shape)}, {tuple(W.shape)} and {tuple(H.shape)}"
        )
    F, T = X.shape
    expected = (H.shape[0], F, T) if per_frame else (F, H.shape[0])
    if tuple(W.shape) != expected or H.shape[1] != T:
        raise ValueError(
            f"objective: X {tuple(X.shape)}, W {tuple(W.shape)} and H {tuple(H.shape)} do not fit "
            "together"
        )
    if tuple(log_likelihoods.shape) != (tuple(H.shape) if per_frame else (H.shape[0],)):
        raise ValueError(
            f"objective: log_likelihoods {tuple(log_likelihoods.shape)} do not fit H "
            f"{tuple(H.shape)}"
        )
    if epsilon is None:
        epsilon = EPSILON_PER_FRAME if per_frame else EPSILON_SHARED
    penalty = scalars.not_negative("objective: penalty", penalty)
    epsilon = scalars.not_negative("objective: epsilon", epsilon)
    sparsity = scalars.not_negative("objective: sparsity", sparsity)
    if penalty and not epsilon:
        raise ValueError("objective: epsilon must be positive where there is a penalty")
    size = (X.numel() + W.numel() + H.numel()) * X.itemsize
    with memory.explained(size, "objective", "fewer frames or entries", X.device.type):
        return _Objective.apply(W, H, log_likelihoods, X, penalty, epsilon, sparsity)
