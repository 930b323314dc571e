r"""Non-negative least squares by candidates, in plain PyTorch.

.. math:: \min_{h_t \ge 0} \|x_t - W h_t\| \quad \text{for every frame } t

At the minimum few of an over-complete dictionary's entries sound in a frame, and the others have
no positive correlation with the residual. So each frame keeps candidates of its own. A pass
correlates every entry with every residual (one large product), drops the candidates that fell
silent, adds those that correlate most, and moves the activations of the candidates by coordinate
descent on their small Gram matrix.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dds_fast.search.reference import can_run

__all__ = ["MOST_NEW", "Search", "can_run", "unit_entries"]

MAX_SWEEPS = 50
SWEEP_GAIN = 1e-6
"""The sweeps of a pass end when one lowers the squared residual by less than this share of it."""

LEAST_CORRELATION = 1e-6
"""An entry that correlates less than this with the residual is orthogonal to it, up to rounding."""

MOST_NEW = 32
"""Candidates that a pass may add to a frame."""


def unit_entries(W: Tensor) -> tuple[Tensor, Tensor]:
    """``(J, F)`` entries of norm 1 (zero entries stay zero) and their ``(J,)`` norms."""
    D = torch.empty(W.T.shape, dtype=W.dtype, device=W.device).copy_(W.T)
    norms = torch.linalg.vector_norm(D, dim=1)
    norms.masked_fill_(norms == 0, 1)
    return D.div_(norms[:, None]), norms


class Search:
    """Activations that approach the minimum from H = 0, pass by pass.

    Attributes:
        cost: ``||X - W H||_F``, in float64.
    """

    def __init__(self, X: Tensor, W: Tensor) -> None:
        self.D, self.norms = unit_entries(W)
        self.Xt = X.T
        self.H = X.new_zeros(X.shape[1], len(self.D))
        self._evaluate()

    def _evaluate(self) -> None:
        self.residual = self.Xt - self.H @ self.D
        self.cost = float(torch.linalg.vector_norm(self.residual, dtype=torch.float64))

    def advance(self) -> None:
        """One pass over all frames."""
        norms = torch.linalg.vector_norm(self.residual, dim=1, keepdim=True)
        correlations = self.residual @ self.D.T
        outside = correlations.masked_fill(self.H > 0, -torch.inf)
        least, new = outside.topk(min(MOST_NEW, len(self.D)), dim=1)
        candidates = self.H > 0
        candidates.scatter_(1, new, least > LEAST_CORRELATION * norms)
        for t in range(len(self.H)):
            self._descend(t, candidates[t].nonzero()[:, 0], correlations[t], norms[t] ** 2)
        self._evaluate()

    def _descend(self, t: int, entries: Tensor, correlations: Tensor, square: Tensor) -> None:
        gram = self.D[entries] @ self.D[entries].T
        gradient, h = correlations[entries], self.H[t, entries]
        for _ in range(MAX_SWEEPS):
            before = h.clone()
            for j in range(len(entries)):
                change = (h[j] + gradient[j]).clamp_min(0) - h[j]
                h[j] += change
                gradient -= gram[j] * change
            if (h - before).square().sum() <= SWEEP_GAIN * square:
                break
        self.H[t, entries] = h

    def activations(self) -> Tensor:
        """``(J, T)``, for the dictionary as it was given."""
        return (self.H / self.norms).T
