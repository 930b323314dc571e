"""Over-complete NMF: every training frame is a dictionary entry, only H is searched."""

from __future__ import annotations

from torch import Tensor

from dds_fast.ops.update_step import Problem


def problem(X: Tensor, W: Tensor) -> Problem:
    """The over-complete NMF baseline of the DDS paper, section III-A.

    ``||X - W H||_F`` by Adam on H with projection to ``H >= 0``; H starts at ``1 / N``.

    Args:
        X: ``(F, T)`` spectrogram.
        W: ``(F, N)`` training frames.
    """
    N = W.shape[1]
    H = X.new_full((N, X.shape[1]), 1 / N)
    return Problem(X, H, epsilon=0.0, W=W, projected=True)
