r"""Multiplicative updates of one factor of :math:`X \approx W H`, in plain PyTorch.

.. math::
   \text{Euclidean: } H \leftarrow H \odot \frac{W^T X}{W^T W H}, \qquad
   \text{Kullback-Leibler: } H \leftarrow H \odot \frac{W^T (X \oslash W H)}{W^T 1}, \qquad
   \text{Itakura-Saito: } H \leftarrow H \odot
   \left(\frac{W^T (X \oslash (W H)^2)}{W^T (1 \oslash W H)}\right)^{1/2}

(Lee and Seung, Algorithms for non-negative matrix factorization, NIPS 2000; Févotte and Idier,
Algorithms for NMF with the beta-divergence, Neural Computation 2011, for the exponent, with which
the Itakura-Saito divergence cannot rise.) Denominators carry a small epsilon, and so does X where
the loss is Itakura-Saito, which zeros would make infinite; zeros of the factor stay zero.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dds_fast.choices import LOSSES
from dds_fast.search.reference import can_run

__all__ = ["EPSILON", "LOSSES", "Update", "can_run"]

EPSILON = torch.finfo(torch.float32).eps


class Update:
    """The update of H for X and W that do not change.

    Args:
        X: ``(F, T)``.
        W: ``(F, J)``.
        loss: one of `LOSSES`.
        n_updates: how often it will be called, about; for what pays to be made once.
    """

    def __init__(self, X: Tensor, W: Tensor, loss: str, n_updates: int = 1) -> None:
        self.X, self.W, self.loss = X, W, loss

    def __call__(self, H: Tensor, penalty: Tensor | float = 0.0) -> Tensor:
        """The new H; the old one stays as it is.

        Args:
            H: ``(J, T)``.
            penalty: gradient to H of what is added to the loss, broadcast to ``(J, T)``,
                non-negative. The Euclidean loss is taken as half the squared error here.
        """
        X, W = self.X, self.W
        if self.loss == "euclidean":
            (F, T), J = X.shape, W.shape[1]
            few = J * (F + T) < 2 * F * T  # then the Gram matrix takes fewer operations
            denominator = (W.T @ W) @ H if few else W.T @ (W @ H)
            return H * (W.T @ X) / (denominator + penalty + EPSILON)
        approximation = W @ H + EPSILON
        if self.loss == "kl":
            return H * (W.T @ (X / approximation)) / (W.sum(0)[:, None] + penalty + EPSILON)
        rise = W.T @ (1 / approximation) + penalty + EPSILON
        return H * (W.T @ ((X + EPSILON) / approximation**2) / rise).sqrt()
