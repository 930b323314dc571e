"""The decomposition objective by Triton kernels, with its analytic gradients.

What it computes is written down in ``search/reference/objective.py``.

`Xt` and the residual are ``(T, F)``, clipped entries `D` are ``(J, F)`` in any strides or, one per
source and frame, ``(S, T, F)``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dds_fast.search.gpu.weights import kernels

N_PROGRAMS = 128
"""Products are cut into about so many tiles, if they are large enough."""

SUMS = {"BLOCK_M": 32, "BLOCK_N": 32}
"""Entries and frames of a program that adds up activations."""

FRAMES = {"BLOCK_M": 16, "BLOCK_N": 64}
"""Frames and features of a program where each frame has entries of its own."""

SOURCES = {"BLOCK_M": 16, "BLOCK_N": 128}
"""Sources and features of one there."""


def product_blocks(n_m: int, n_n: int, precision: str) -> dict[str, int | str]:
    """Square tiles of a product, small ones where there would be few.

    With a bfloat16 flow the products are split: they are few beside the flow's, and the schedule
    compares their norm.
    """
    enough = -(-n_m // 64) * -(-n_n // 64) >= N_PROGRAMS
    size, warps = (64, 8) if enough else (32, 4)
    return {
        "PRECISION": "bf16x3" if precision == "bfloat16" else precision,
        "BLOCK_M": size,
        "BLOCK_N": size,
        "BLOCK_K": 32,
        "num_warps": warps,
        "num_stages": 3,
    }


def grid(n_m: int, n_n: int, blocks: dict) -> tuple[int, int]:
    return -(-n_m // blocks["BLOCK_M"]), -(-n_n // blocks["BLOCK_N"])


def n_squares(Xt: Tensor, per_frame: bool) -> int:
    """How many sums of squares `residual` makes."""
    T, F = Xt.shape
    rows, columns = grid(T, F, FRAMES if per_frame else product_blocks(T, F, "float32"))
    return rows * columns


def n_sums(Xt: Tensor) -> int:
    """How many pairs of sums `sum_frames` makes."""
    return -(-len(Xt) // SUMS["BLOCK_N"])


def residual(
    Xt: Tensor, D: Tensor, H: Tensor, precision: str, target: Tensor, squares: Tensor
) -> None:
    """``W H - X``, and the sums of its squares in float64, tile by tile."""
    T, F = Xt.shape
    if D.ndim == 3:
        kernels("objective").frame_residual_kernel[grid(T, F, FRAMES)](
            H, D, Xt, target, squares, T, F, len(H), **FRAMES
        )
        return
    blocks = product_blocks(T, F, precision)
    kernels("objective").residual_kernel[grid(T, F, blocks)](
        H, D, Xt, target, squares, T, F, len(H), H.stride(0), *D.stride(), **blocks
    )


def sum_frames(
    H: Tensor, log_likelihoods: Tensor, epsilon: float, total: Tensor, mean: Tensor, sums: Tensor
) -> None:
    """Per frame c_t and the activation-weighted mean log-likelihood; over frames, their sums."""
    kernels("objective").frames_kernel[(len(sums),)](
        H, log_likelihoods, total, mean, sums, epsilon, H.shape[1], len(H),
        PER_FRAME=log_likelihoods.ndim == 2, **SUMS,
    )  # fmt: skip


def dictionary_gradient(
    D: Tensor, H: Tensor, of_residual: Tensor, inverse_norm: Tensor, precision: str
) -> Tensor:
    """dJ/dD, zero where the entry was clipped."""
    gradient = torch.empty_like(D)
    (T, F), J = of_residual.shape, len(H)
    if D.ndim == 3:
        kernels("objective").frame_dictionary_gradient_kernel[(T, J)](
            H, D, of_residual, inverse_norm, gradient, T, F, J, BLOCK_N=512
        )
        return gradient
    blocks = product_blocks(J, F, precision)
    kernels("objective").dictionary_gradient_kernel[grid(J, F, blocks)](
        H, D, of_residual, inverse_norm, gradient, T, F, J, **blocks
    )
    return gradient


def likelihood_gradient(H: Tensor, total: Tensor, penalty: float, per_frame: bool) -> Tensor:
    """dJ/dl, ``(J,)`` or ``(S, T)``."""
    J, T = H.shape
    gradient = H.new_empty((J, T) if per_frame else (J,))
    kernels("objective").likelihood_gradient_kernel[(-(-J // SUMS["BLOCK_M"]),)](
        H, total, gradient, penalty, T, J, PER_FRAME=per_frame, **SUMS
    )
    return gradient
