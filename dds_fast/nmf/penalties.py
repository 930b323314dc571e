"""What a factorisation pays besides its loss, as multiplicative updates take it: by gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dds_fast import scalars


@dataclass(frozen=True)
class Penalties:
    """``sparsity sum_j ||w_j||_2 sum_t h_jt``, and L1 and half squared L2 norms of W and of H.

    Attributes:
        sparsity: weight of the first.
        l1: weights of ``||W||_1`` and ``||H||_1``.
        l2: weights of ``||W||_F^2 / 2`` and ``||H||_F^2 / 2``.
    """

    sparsity: float = 0.0
    l1: tuple[float, float] = (0.0, 0.0)
    l2: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def checked(cls, op: str, sparsity: Any, l1: Any, l2: Any) -> Penalties:
        """Plain numbers; a ValueError names the one that is negative or none."""
        both = []
        for name, given in (("l1", l1), ("l2", l2)):
            W, H = scalars.pair(f"{op}: {name}", given)
            legal = [scalars.not_negative(f"{op}: {name}", value) for value in (W, H)]
            both.append((legal[0], legal[1]))
        return cls(scalars.not_negative(f"{op}: sparsity", sparsity), *both)

    def of_H(self, W: Tensor, H: Tensor) -> Tensor | float:
        """Gradient to H, broadcast to ``(J, T)``."""
        norms = self.sparsity * W.norm(dim=0)[:, None] if self.sparsity else 0.0
        return _with_own(norms, H, self.l1[1], self.l2[1])

    def of_W(self, W: Tensor, H: Tensor) -> Tensor | float:
        """Gradient to W^T, broadcast to ``(J, F)``."""
        pull: Tensor | float = 0.0
        if self.sparsity:
            norms = W.norm(dim=0).clamp_min(torch.finfo(W.dtype).tiny)
            pull = self.sparsity * H.sum(1)[:, None] * (W / norms).T
        return _with_own(pull, W.T, self.l1[0], self.l2[0])


def _with_own(gradient: Tensor | float, factor: Tensor, l1: float, l2: float) -> Tensor | float:
    gradient = gradient + l1 if l1 else gradient
    return gradient + l2 * factor if l2 else gradient
