"""The decomposition objective by Triton kernels, with its analytic gradients; see ``reference.py``.

`Xt` and the residual are ``(T, F)``, clipped entries `D` are ``(J, F)`` in any strides or, one per
source and frame, ``(S, T, F)``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dds_fast.search.gpu.weights import can_run, kernels, on_device_of
from dds_fast.search.reference.objective import Evaluation

__all__ = [
    "can_run",
    "evaluate",
    "gradient_activations",
    "gradient_dictionary",
    "gradient_log_likelihoods",
]

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
    rows, columns = grid(*Xt.shape, FRAMES if per_frame else product_blocks(*Xt.shape, "float32"))
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


# ---- the functions of the op ---------------------------------------------------------------------


def evaluate(
    Xt: Tensor,
    D: Tensor,
    H: Tensor,
    log_likelihoods: Tensor,
    penalty: float,
    epsilon: float,
    sparsity: float,
) -> Evaluation:
    """Like ``reference.evaluate``."""
    Xt, D, H = Xt.contiguous(), D.contiguous(), H.contiguous()
    per_frame = D.ndim == 3
    target = torch.empty_like(Xt)
    total, mean = H.new_empty(H.shape[1]), H.new_empty(H.shape[1])
    squares = H.new_empty(n_squares(Xt, per_frame), dtype=torch.float64)
    sums = H.new_empty(n_sums(Xt), 2, dtype=torch.float64)
    with on_device_of(H):
        residual(Xt, D, H, "float32", target, squares)
        sum_frames(H, log_likelihoods.contiguous(), epsilon, total, mean, sums)
    norm = float(squares.sum().sqrt())
    attributed, active = sums.sum(0).tolist()
    cost = norm - penalty * attributed + sparsity * active
    return Evaluation(cost, target, norm, mean, total)


def _inverse_norm(at: Evaluation) -> Tensor:
    return at.residual.new_tensor([1 / at.norm if at.norm > 0 else 0.0])


def gradient_dictionary(at: Evaluation, D: Tensor, H: Tensor) -> Tensor:
    """Like ``reference.gradient_dictionary``."""
    D, H = D.contiguous(), H.contiguous()
    with on_device_of(H):
        return dictionary_gradient(D, H, at.residual, _inverse_norm(at), "float32")


def gradient_log_likelihoods(
    at: Evaluation, H: Tensor, log_likelihoods: Tensor, penalty: float
) -> Tensor:
    """Like ``reference.gradient_log_likelihoods``."""
    with on_device_of(H):
        return likelihood_gradient(H.contiguous(), at.total, penalty, log_likelihoods.ndim == 2)


def gradient_activations(
    at: Evaluation,
    D: Tensor,
    H: Tensor,
    log_likelihoods: Tensor,
    penalty: float,
    sparsity: float,
) -> Tensor:
    """Like ``reference.gradient_activations``, and zero where H was clipped."""
    D, H, likelihoods = D.contiguous(), H.contiguous(), log_likelihoods.contiguous()
    gradient = torch.empty_like(H)
    (T, F), J = at.residual.shape, len(H)
    tensors = (D, at.residual, H, likelihoods, at.attributed, at.total, _inverse_norm(at), gradient)
    with on_device_of(H):
        if D.ndim == 3:
            kernels("objective").frame_activation_gradient_kernel[(T, -(-J // SOURCES["BLOCK_M"]))](
                *tensors, penalty, sparsity, T, F, J, **SOURCES
            )
        else:
            blocks = product_blocks(J, T, "float32")
            kernels("objective").activation_gradient_kernel[grid(J, T, blocks)](
                *tensors, penalty, sparsity, T, F, J, **blocks
            )
    return gradient
