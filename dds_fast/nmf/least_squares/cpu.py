"""Non-negative least squares by candidates: a BLAS product and one compiled kernel per pass."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dds_fast import _native
from dds_fast.nmf.least_squares.reference import MOST_NEW, unit_entries
from dds_fast.search import cpu
from dds_fast.search.dispatch import Request, accept

GRAM_ENTRIES = 192
"""Up to so many entries, all are candidates of every frame, and share one Gram matrix. Measured at
F = 1024: ahead at 176 entries, behind at 256."""

FIRST_CAPACITY = 128
CORRELATION_BYTES = 64 << 20
"""Frames are taken in chunks whose correlations with all entries have at most this size."""


def can_run(request: Request, raise_error: bool = False) -> bool:
    """Where the compiled kernels run, in float32: a BLAS makes the products."""
    if request.device.type == "cpu" and request.precision != "float32":
        return accept(f"computes in float32, not {request.precision}", raise_error)
    return cpu.can_run(request, raise_error)


class Search:
    """Like ``reference.Search``; memory grows with the candidates, not with entries x frames."""

    def __init__(self, X: Tensor, W: Tensor) -> None:
        self.D, self.norms = unit_entries(W)
        n_entries, n_frames = len(self.D), X.shape[1]
        self.Xt = X.T.contiguous()
        self.residual = self.Xt.clone()
        self.squares = torch.linalg.vector_norm(self.Xt, dim=1, dtype=torch.float64).square()
        self.counts = torch.zeros(n_frames, dtype=torch.int32)
        self.entries = torch.zeros(n_frames, 0, dtype=torch.int32)
        self.values = X.new_zeros(n_frames, 0)
        self.gram: Tensor | None = None
        if n_entries <= GRAM_ENTRIES:
            self._reserve(n_entries)
            self.entries.copy_(torch.arange(n_entries))
            padding = _native.cpu().padded_candidates(n_entries) - n_entries
            self.gram = torch.nn.functional.pad(self.D @ self.D.T, (0, padding))
        else:
            self._reserve(min(n_entries, FIRST_CAPACITY))
        self.chunk = max(1, min(n_frames, CORRELATION_BYTES // (4 * max(1, n_entries))))
        self.correlations = self.D.new_empty(self.chunk, n_entries)

    @property
    def cost(self) -> float:
        return math.sqrt(self.squares.sum())

    def _reserve(self, capacity: int) -> None:
        """Room for `capacity` candidates per frame, with those so far."""
        more = (0, capacity - self.entries.shape[1])
        self.entries = torch.nn.functional.pad(self.entries, more)
        self.values = torch.nn.functional.pad(self.values, more)
        self.capacity, self.n_threads = capacity, torch.get_num_threads()
        scratch = _native.cpu().candidates_scratch(capacity)
        self.scratch = self.Xt.new_empty(self.n_threads * scratch)

    def advance(self) -> None:
        """One pass over all frames."""
        if self.Xt.numel() == 0 or len(self.D) == 0:
            return
        n_entries = len(self.D)
        if self.capacity < n_entries:
            sounding = int(torch.count_nonzero(self.values, dim=1).max())
            if sounding + MOST_NEW > self.capacity:
                self._reserve(min(n_entries, 2 * self.capacity))
        for first in range(0, len(self.Xt), self.chunk):
            frames = slice(first, first + self.chunk)
            residual = self.residual[frames]
            correlations = self.correlations[: len(residual)]
            torch.mm(residual, self.D.T, out=correlations)
            _native.cpu().refine_candidates(
                self.D.data_ptr(),
                0 if self.gram is None else self.gram.data_ptr(),
                self.Xt[frames].data_ptr(),
                correlations.data_ptr(),
                residual.data_ptr(),
                self.squares[frames].data_ptr(),
                self.entries[frames].data_ptr(),
                self.values[frames].data_ptr(),
                self.counts[frames].data_ptr(),
                n_entries,
                self.D.shape[1],
                len(residual),
                self.capacity,
                MOST_NEW,
                self.scratch.data_ptr(),
                self.n_threads,
            )

    def activations(self) -> Tensor:
        """``(J, T)``, for the dictionary as it was given."""
        H = self.Xt.new_zeros(len(self.Xt), len(self.D))
        # Places that hold no candidate are zero, and entry 0 may be one: add, do not overwrite.
        H.scatter_add_(1, self.entries.long(), self.values)
        return H.div_(self.norms).T.contiguous()
