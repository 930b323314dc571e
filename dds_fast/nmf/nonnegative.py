"""What the operands of a non-negative factorisation must be."""

from __future__ import annotations

from torch import Tensor

from dds_fast.arrays import check_entries, plain


def check(op: str, X: Tensor, W: Tensor, H: Tensor | None = None) -> list[Tensor]:
    """Refuse operands that are no factorisation ``X = W H`` of non-negative matrices.

    Returns:
        Those given, as plain tensors without a graph.

    Raises:
        ValueError: shapes that do not fit together, different dtypes or devices, or entries that
            are negative, NaN or infinite.
    """
    given = {"X": X, "W": W} | ({} if H is None else {"H": H})
    matrices = {name: plain(f"{op}: {name}", matrix).detach() for name, matrix in given.items()}
    shapes = ", ".join(f"{name} {tuple(matrix.shape)}" for name, matrix in matrices.items())
    fits = all(matrix.ndim == 2 for matrix in matrices.values()) and X.shape[0] == W.shape[0]
    if not fits or (H is not None and tuple(H.shape) != (W.shape[1], X.shape[1])):
        raise ValueError(f"{op}: shapes do not fit (F, T), (F, J), (J, T): {shapes}")
    for name, matrix in matrices.items():
        alike = (matrix.dtype, matrix.device) == (X.dtype, X.device)
        if not alike or not matrix.is_floating_point() or matrix.element_size() < 2:
            raise ValueError(
                f"{op}: X is {X.dtype} on {X.device}, {name} is {matrix.dtype} on {matrix.device}; "
                "they must be of one floating dtype on one device"
            )
        check_entries(f"{op}: {name}", matrix)
    return list(matrices.values())


def check_matrix(op: str, name: str, matrix: Tensor) -> None:
    """Refuse what is no floating non-negative matrix with a ValueError."""
    if matrix.ndim != 2 or not matrix.is_floating_point():
        raise ValueError(
            f"{op}: {name} must be a matrix of floats, not {matrix.dtype} {tuple(matrix.shape)}"
        )
    check_entries(f"{op}: {name}", matrix)
