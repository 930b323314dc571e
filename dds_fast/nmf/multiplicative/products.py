"""Multiplicative updates by a BLAS's products, with one elementwise pass between them."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from dds_fast.nmf.multiplicative.reference import EPSILON

LOSSES = ("euclidean", "kl")


def _dense(matrix: Tensor) -> Tensor:
    """`matrix`, or a copy, whose elements lie in memory row by row or column by column."""
    return matrix if matrix.T.is_contiguous() else matrix.contiguous()


def _product(A: Tensor, B: Tensor, like: Tensor) -> Tensor:
    """``A B`` with its elements in memory in the order of those of `like`."""
    return torch.mm(A, B) if like.is_contiguous() else torch.mm(B.T, A.T).T


class ProductsUpdate(ABC):
    """``reference.Update`` but for the elementwise passes between its products.

    The Euclidean update multiplies by the Gram matrix of W where that takes fewer operations than
    two products with W, its making included.
    """

    @abstractmethod
    def ratio(self, H: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
        """``H * numerator / (denominator + EPSILON)``; all lie in memory in the order of H."""

    @abstractmethod
    def quotient(self, approximation: Tensor) -> Tensor:
        """``X / (approximation + EPSILON)``, in place, in the order of X."""

    def __init__(self, X: Tensor, W: Tensor, loss: str, n_updates: int = 1) -> None:
        self.X, self.W, self.loss = _dense(X), W, loss
        self.gram: Tensor | None = None
        self.fixed: dict[bool, Tensor] = {}
        (F, T), J = X.shape, W.shape[1]
        if loss == "euclidean" and J * (T * n_updates + F) < 2 * F * T * n_updates:
            self.gram = W.T @ W

    def _numerator(self, H: Tensor) -> Tensor:
        """``W^T X`` in the order of H, made once."""
        order = H.is_contiguous()
        if order not in self.fixed:
            self.fixed[order] = _product(self.W.T, self.X, H)
        return self.fixed[order]

    def __call__(self, H: Tensor, penalty: Tensor | float = 0.0) -> Tensor:
        """The new H; the old one stays as it is."""
        H = _dense(H)
        if self.loss == "kl":
            return self._kl(H, penalty)
        if self.gram is None:
            denominator = _product(self.W.T, torch.mm(self.W, H), H)
        else:
            denominator = _product(self.gram, H, H)
        if isinstance(penalty, Tensor) or penalty:
            denominator += penalty
        return self.ratio(H, self._numerator(H), denominator)

    def _kl(self, H: Tensor, penalty: Tensor | float) -> Tensor:
        quotient = self.quotient(_product(self.W, H, self.X))
        if True not in self.fixed:
            self.fixed[True] = self.W.sum(0)[:, None] + EPSILON
        return _product(self.W.T, quotient, H).mul_(H).div_(self.fixed[True] + penalty)
