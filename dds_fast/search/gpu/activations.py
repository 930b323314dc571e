"""One recording's activations on a GPU, and their multiplicative updates."""

from __future__ import annotations

import torch
from torch import Tensor

from dds_fast.search import staged
from dds_fast.search.gpu.objective import grid, product_blocks
from dds_fast.search.gpu.weights import kernels
from dds_fast.search.problem import StagedProblem
from dds_fast.search.survivors import worth_dropping

FRAMES = 256
"""Frames of a program that adds up a source's activity."""


class Activations:
    """Activations of entries `D` ``(J, F)``, which come and go; tensors stay where they are between
    two calls of `place`, so that graphs may hold on to them.

    Attributes:
        H: ``(J, T)``.
        labels: ``(J,)`` source of each entry, ascending.
        norms: ``(J,)`` of the entries.
        weights: ``(S, T)`` of the sources' l1 norms.
    """

    def __init__(self, problem: StagedProblem, Xt: Tensor, precision: str) -> None:
        self.settings, self.Xt, self.precision = problem.settings, Xt, precision
        self.n_sources = problem.n_sources
        self.weights = Xt.new_empty(problem.n_sources, len(Xt))
        self.weights.fill_(problem.settings.fixed_sparsity)

    def place(self, H: Tensor, labels: Tensor) -> None:
        """Go on with such activations."""
        (J, T), F, new = H.shape, self.Xt.shape[1], H.new_empty
        self.H, self.spare, self.labels = H.contiguous(), torch.empty_like(H), labels.contiguous()
        sources = torch.arange(self.n_sources + 1, device=H.device)
        self.first_entry = torch.searchsorted(self.labels, sources)
        self.norms, self.numerator = new(J), new(J, T)
        self.gram = new(J, J) if J < 2 * F else None
        self.explained = new((T, F) if self.gram is None else 0)

    def measure(self, D: Tensor) -> None:
        """The norms of the entries."""
        torch.linalg.vector_norm(D, dim=1, out=self.norms)

    def prepare(self, D: Tensor) -> None:
        """What all updates with the same entries share: W'X and, if it pays, W'W."""
        self._multiply(D, self.Xt.T, self.numerator)
        if self.gram is not None:
            self._multiply(D, D.T, self.gram)

    def update(self, D: Tensor, n_updates: int, over_relaxed: bool) -> None:
        """Multiplicative updates of H, to and fro between it and a spare one."""
        before, after = self.H, self.spare
        for _ in range(n_updates):
            if self.gram is not None:
                self._update(self.gram, before, before, after, over_relaxed)
            else:
                self._multiply(before.T, D, self.explained)
                self._update(D, self.explained.T, before, after, over_relaxed)
            before, after = after, before
        if before is not self.H:
            self.H.copy_(before)

    def _multiply(self, a: Tensor, b: Tensor, out: Tensor) -> None:
        """``out = a @ b``."""
        (M, K), N = a.shape, b.shape[1]
        blocks = product_blocks(M, N, self.precision)
        kernels("staged").product_kernel[grid(M, N, blocks)](
            a, b, out, M, N, K, *a.stride(), *b.stride(), **blocks
        )

    def _update(
        self, left: Tensor, right: Tensor, before: Tensor, after: Tensor, over_relaxed: bool
    ) -> None:
        """One update, with ``left @ right`` for W'W H."""
        J, T = before.shape
        blocks = product_blocks(J, T, self.precision)
        kernels("staged").update_kernel[grid(J, T, blocks)](
            left, right, before, self.numerator, self.norms, self.labels, self.weights, after,
            J, T, left.shape[1], *right.stride(), OVER_RELAXED=over_relaxed,
            **blocks,
        )  # fmt: skip

    def reweigh(self) -> None:
        """Make the weights anew: the more active a source is around a frame, the less it pays."""
        S, T = self.weights.shape
        activity, settings = torch.empty_like(self.weights), self.settings
        kernels("staged").activity_kernel[(S, -(-T // FRAMES))](
            self.H, self.norms, self.first_entry, activity, T, BLOCK=FRAMES
        )
        activity = staged.smoothed(activity, settings.smoothing)
        u = 1 / (activity / (activity.amax(0) + staged.TINY) + settings.floor)
        self.weights.copy_(settings.sparsity * u / u.mean())

    def alive(self, n_entries: int) -> Tensor | None:
        """Those of `n_entries` that still sound, if it pays to go on with them; waits for it."""
        peaks = self.H.amax(1) * self.norms
        alive = (peaks > staged.DEAD * peaks.max()).nonzero()[:, 0]
        return alive if worth_dropping(len(alive), n_entries) else None

    def silence_all_but(self, kept: Tensor) -> None:
        """What is zero stays zero."""
        silent = torch.ones(len(self.H), 1, dtype=torch.bool, device=self.H.device)
        silent[kept] = False
        self.H.masked_fill_(silent, 0.0)

    def keep(self, kept: Tensor, D: Tensor) -> None:
        """Go on with some of the entries, `D`, which stay as they are."""
        norms, numerator, gram = self.norms, self.numerator, self.gram
        self.place(self.H[kept], self.labels[kept])
        self.norms, self.numerator = norms[kept], numerator[kept]
        if gram is not None:
            self.gram = gram[kept].index_select(1, kept)
        elif self.gram is not None:
            self._multiply(D, D.T, self.gram)
