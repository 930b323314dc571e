"""NMF with a fixed dictionary, over-complete or not: only the activations are searched."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dds_fast.ops import nonnegative
from dds_fast.ops.least_squares import least_squares
from dds_fast.ops.multiplicative import check_loss, divergence, fixed_update
from dds_fast.ops.update_step import Problem

CHECK_EVERY = 10
"""The multiplicative loop looks at the loss every so many steps."""


def problem(X: Tensor, W: Tensor, sparsity: float = 0.0) -> Problem:
    """The over-complete NMF baseline of the DDS paper, section III-A.

    ``||X - W H||_F`` by Adam on H with projection to ``H >= 0``; H starts at ``1 / N``.

    Args:
        X: ``(F, T)`` spectrogram.
        W: ``(F, N)`` training frames.
        sparsity: weight mu of ``mu / sqrt(T) * sum(H)``, which the paper does not have.
    """
    N = W.shape[1]
    H = X.new_full((N, X.shape[1]), 1 / N)
    return Problem(X, H, epsilon=0.0, W=W, sparsity=sparsity / math.sqrt(X.shape[1]))


def activations(
    X: Tensor,
    W: Tensor,
    *,
    loss: str = "euclidean",
    H: Tensor | None = None,
    n_steps: int = 200,
    tolerance: float = 1e-4,
    backend: str = "auto",
) -> tuple[Tensor, list[float]]:
    """The activations of a fixed dictionary that approximate a spectrogram best.

    Without `H`, the Euclidean loss is solved as non-negative least squares, each frame over few
    candidates: the fastest way to its minimum, and sparse. With `H`, and for the Kullback-Leibler
    loss, multiplicative updates start at `H` (by default at the same positive value everywhere),
    and its zeros stay zero: that is how a score constrains a decomposition.

    Args:
        X: ``(F, T)`` spectrogram, non-negative.
        W: ``(F, J)`` dictionary, non-negative.
        loss: "euclidean", or "kl" for the generalised Kullback-Leibler divergence.
        H: ``(J, T)`` initial activations.
        n_steps: most passes or updates.
        tolerance: stop when a pass, or ten multiplicative updates, lower the loss by less than
            this share of it.
        backend: a backend's name, or "auto".

    Returns:
        The ``(J, T)`` activations; and the history of the loss (``||X - W H||_F``, or the
        divergence), which starts with the initial one and has an entry per pass, or one per ten
        multiplicative updates.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together; negative, NaN or infinite
            entries; unknown `loss` or `backend`.
        RuntimeError: the backend cannot run on `X`, with its reason.

    Source: Lee and Seung, NIPS 2000 (multiplicative updates); Lawson and Hanson, Solving Least
    Squares Problems, 1974 (active sets).

    Example:
        >>> import torch
        >>> W = torch.rand(20, 5)
        >>> X = W @ torch.rand(5, 30)
        >>> H, history = activations(X, W)
        >>> H.shape, history[-1] < 0.01 * history[0]
        (torch.Size([5, 30]), True)
    """
    check_loss("activations", loss)
    nonnegative.check("activations", X, W, H)
    if loss == "euclidean" and H is None:
        return least_squares(X, W, max_passes=n_steps, tolerance=tolerance, backend=backend)
    if H is None:
        # W H then has the mean of X.
        level = X.mean() / W.sum(1).mean().clamp_min(torch.finfo(X.dtype).tiny)
        H = level.nan_to_num(0.0).expand(W.shape[1], X.shape[1]).contiguous()
    update = fixed_update(X, W, loss=loss, n_updates=n_steps, backend=backend)
    history = [divergence(X, W, H, loss)]
    for step in range(1, n_steps + 1):
        H = update(H)
        if step % CHECK_EVERY == 0 or step == n_steps:
            history.append(divergence(X, W, H, loss))
            if history[-2] - history[-1] <= tolerance * history[-2]:
                break
    return H, history
