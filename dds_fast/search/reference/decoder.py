"""Latent codes through a frozen flow to dictionary entries, and gradients back."""

from __future__ import annotations

import torch
from torch import Tensor

from dds_fast.flows.frozen import FrozenFlow
from dds_fast.flows.reference import flow as flow_reference
from dds_fast.search.problem import log_likelihoods_of

STASH_BYTES = 2 << 30
"""Activations of a decode are kept for the backward up to this size; beyond it the rows are
decoded in chunks, and once more in the backward."""


class Decoder:
    """Latent codes to dictionary rows and log-likelihoods, and back to gradients."""

    def __init__(
        self,
        flow: FrozenFlow,
        Z: Tensor,
        n_fixed: int,
        *,
        likelihood: str,
        per_frame: bool = False,
    ) -> None:
        self.flow = flow
        self.data_likelihood = likelihood == "data"
        # What can be dropped as a whole: the flows of a bank (dim 0), or the rows of a single flow.
        self.unit_dim = 0 if per_frame or flow.n_groups > 1 else 1
        self.fixed, self.free = Z.tensor_split([n_fixed], dim=-1)
        self.free = self.free.clone(memory_format=torch.contiguous_format)
        row_bytes = flow_reference.stash_bytes_per_row(flow) * flow.n_groups
        self.chunk = max(1, STASH_BYTES // row_bytes)
        self.keep = self.chunk >= self.free.shape[1]
        self.stash: flow_reference.Stash | None = None

    def _latents(self, rows: slice) -> Tensor:
        return torch.cat([self.fixed[:, rows], self.free[:, rows]], dim=-1)

    def _chunks(self) -> list[slice]:
        n_rows = self.free.shape[1]
        return [slice(i, i + self.chunk) for i in range(0, n_rows, self.chunk)]

    def decode(self) -> tuple[Tensor, Tensor]:
        """``(G, R, F)`` clipped rows and ``(G, R)`` log-likelihoods at the current latents."""
        entries = self.free.new_empty((*self.free.shape[:2], self.flow.n_features))
        log_det = self.free.new_empty(self.free.shape[:2])
        self.stash = None
        for rows in self._chunks():
            x, log_det[:, rows], stash = flow_reference.forward(
                self.flow, self._latents(rows), "decode", self.keep
            )
            torch.clamp_min(x, 0, out=entries[:, rows])
            if self.keep:
                self.stash = stash
        likelihood = "data" if self.data_likelihood else "latent"
        return entries, log_likelihoods_of(self.free, log_det, likelihood)

    def backward(self, grad_rows: Tensor, grad_log_likelihoods: Tensor) -> Tensor:
        """Gradient to the free latents."""
        D = self.free.shape[-1]
        grad_log_det = -grad_log_likelihoods / D if self.data_likelihood else None
        grad_free = torch.empty_like(self.free)
        for rows in self._chunks():
            stash = self.stash
            if stash is None:
                stash = flow_reference.forward(self.flow, self._latents(rows), "decode", True)[2]
                assert stash is not None
            grad = flow_reference.backward(
                self.flow,
                stash,
                grad_rows[:, rows],
                None if grad_log_det is None else grad_log_det[:, rows],
                "decode",
            )
            grad_free[:, rows] = grad[..., self.fixed.shape[-1] :]
        self.stash = None
        return grad_free.addcmul_(self.free, grad_log_likelihoods[..., None], value=-1.0 / D)

    def keep_only(self, units: Tensor) -> None:
        """Go on with the given flows or rows; what was decoded before is void."""
        if self.unit_dim == 0:
            self.flow = self.flow.select(units)
        self.free = self.free.index_select(self.unit_dim, units)
        self.fixed = self.fixed.index_select(self.unit_dim, units)
        self.stash = None
