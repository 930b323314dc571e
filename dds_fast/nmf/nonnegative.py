"""What the operands of a non-negative factorisation must be."""

from __future__ import annotations

import torch
from torch import Tensor


def check(op: str, X: Tensor, W: Tensor, H: Tensor | None = None) -> None:
    """Refuse operands that are no factorisation ``X = W H`` of non-negative matrices.

    Raises:
        ValueError: shapes that do not fit together, different dtypes or devices, or entries that
            are negative, NaN or infinite.
    """
    matrices = {"X": X, "W": W} | ({} if H is None else {"H": H})
    shapes = ", ".join(f"{name} {tuple(matrix.shape)}" for name, matrix in matrices.items())
    fits = all(matrix.ndim == 2 for matrix in matrices.values()) and X.shape[0] == W.shape[0]
    if not fits or (H is not None and tuple(H.shape) != (W.shape[1], X.shape[1])):
        raise ValueError(f"{op}: shapes do not fit (F, T), (F, J), (J, T): {shapes}")
    for name, matrix in matrices.items():
        if (matrix.dtype, matrix.device) != (X.dtype, X.device) or not matrix.is_floating_point():
            raise ValueError(
                f"{op}: X is {X.dtype} on {X.device}, {name} is {matrix.dtype} on {matrix.device}; "
                "they must be of one floating dtype on one device"
            )
        check_entries(op, name, matrix)


def check_matrix(op: str, name: str, matrix: Tensor) -> None:
    """Refuse what is no floating non-negative matrix with a ValueError."""
    if matrix.ndim != 2 or not matrix.is_floating_point():
        raise ValueError(
            f"{op}: {name} must be a matrix of floats, not {matrix.dtype} {tuple(matrix.shape)}"
        )
    check_entries(op, name, matrix)


def check_entries(op: str, name: str, matrix: Tensor) -> None:
    """Refuse negative, NaN and infinite entries with a ValueError that counts and places them."""
    if matrix.numel() == 0:
        return
    least, most = torch.aminmax(matrix)
    if not (torch.isfinite(least) and torch.isfinite(most)):
        _refuse(op, name, "NaN or infinite", ~torch.isfinite(matrix))
    if least < 0:
        _refuse(op, name, "negative", matrix < 0)


def _refuse(op: str, name: str, what: str, bad: Tensor) -> None:
    place = tuple(bad.nonzero()[0].tolist())
    raise ValueError(f"{op}: {name} holds {int(bad.sum())} {what}, first at {place}")
