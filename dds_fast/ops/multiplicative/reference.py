r"""Multiplicative updates of one factor of :math:`X \approx W H`, in plain PyTorch.

.. math::
   \text{Euclidean: } H \leftarrow H \odot \frac{W^T X}{W^T W H}, \qquad
   \text{Kullback-Leibler: } H \leftarrow H \odot \frac{W^T (X \oslash W H)}{W^T 1}

(Lee and Seung, Algorithms for non-negative matrix factorization, NIPS 2000.) Denominators carry a
small epsilon; zeros stay zero.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dds_fast.ops.dispatch import Request, accept

EPSILON = torch.finfo(torch.float32).eps


def can_run(request: Request, raise_error: bool = False) -> bool:
    """Plain PyTorch computes in the tensors' own dtype, on any device."""
    reason = None
    if request.precision not in ("float64", "float32"):
        reason = f"computes in float64 or float32, not {request.precision}"
    return accept(reason, raise_error)


class Update:
    """The update of H for X and W that do not change.

    Args:
        X: ``(F, T)``.
        W: ``(F, J)``.
        loss: "euclidean" or "kl".
        n_updates: how often it will be called, about; for what pays to be made once.
    """

    def __init__(self, X: Tensor, W: Tensor, loss: str, n_updates: int) -> None:
        self.X, self.W, self.loss = X, W, loss

    def __call__(self, H: Tensor) -> Tensor:
        """The new H; the old one stays as it is."""
        X, W = self.X, self.W
        approximation = W @ H
        if self.loss == "euclidean":
            return H * (W.T @ X) / (W.T @ approximation + EPSILON)
        return H * (W.T @ (X / (approximation + EPSILON))) / (W.sum(0)[:, None] + EPSILON)
