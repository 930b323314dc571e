"""Latent codes of one or more recordings through a flow backend, and gradients back."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor

from dds_fast.flows.frozen import FrozenFlow
from dds_fast.flows.reference.flow import stash_bytes_per_row

STASH_BYTES = 8 << 30
"""Activations of a decode are kept for the gradient up to this size; beyond it the rows are decoded
in chunks, and once more for the gradient."""


def rows_that_fit(flow: FrozenFlow) -> int:
    """Most rows per flow that may pass at once."""
    return max(1, STASH_BYTES // (stash_bytes_per_row(flow) * flow.n_groups))


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=1)


class Decoder:
    """A flow, or those flows of a bank that still take part.

    Attributes:
        unit_dim: what can be left out of ``(G, R, F)`` latents as a whole: flows of a bank (0), or
            rows of a single flow (1).
        chunk: most rows per flow that pass at once.
    """

    def __init__(
        self, flow: FrozenFlow, per_frame: bool, precision: str, flow_ops: ModuleType
    ) -> None:
        self.flow, self.precision, self.ops = flow, precision, flow_ops
        self.unit_dim = 0 if per_frame or flow.n_groups > 1 else 1
        self.groups = torch.arange(flow.n_groups, device=flow.device)
        self.chunk = rows_that_fit(flow)

    def _forward(self, rows: Tensor, keep: bool) -> tuple:
        groups = self.groups
        return self.ops.forward(self.flow, rows, "decode", keep, self.precision, groups=groups)

    def decode(self, latents: Sequence[Tensor], keep: bool = True) -> list[tuple[Tensor, Tensor]]:
        """Each one's ``(G, R, F)`` rows and ``(G, R)`` log-determinants; `keep` for `backward`."""
        Z = _joined(latents)
        self.stash = None
        if Z.shape[1] <= self.chunk:
            rows, log_det, self.stash = self._forward(Z, keep)
        else:
            parts = [self._forward(part, False)[:2] for part in Z.split(self.chunk, dim=1)]
            rows, log_det = (torch.cat(tensors, dim=1) for tensors in zip(*parts, strict=True))
        sizes = [z.shape[1] for z in latents]
        return list(zip(rows.split(sizes, dim=1), log_det.split(sizes, dim=1), strict=True))

    def backward(
        self, latents: Sequence[Tensor], gradients: Sequence[tuple[Tensor, Tensor | None]]
    ) -> list[Tensor]:
        """Each one's gradient to its latents, from those to its rows and log-determinants."""
        to_rows = _joined([rows for rows, _ in gradients])
        log_dets = [log_det for _, log_det in gradients if log_det is not None]
        to_log_det = _joined(log_dets) if log_dets else None
        sizes = [z.shape[1] for z in latents]
        if self.stash is not None:
            moved = self.ops.backward(self.flow, self.stash, to_rows, to_log_det, "decode")
            return list(moved.split(sizes, dim=1))
        Z, parts = _joined(latents), []
        for first in range(0, Z.shape[1], self.chunk):
            rows = slice(first, first + self.chunk)
            stash = self._forward(Z[:, rows], True)[2]
            of_log_det = None if to_log_det is None else to_log_det[:, rows]
            part = self.ops.backward(self.flow, stash, to_rows[:, rows], of_log_det, "decode")
            parts.append(part)
        return list(torch.cat(parts, dim=1).split(sizes, dim=1))

    def keep_only(self, units: Tensor) -> None:
        """Go on with the given flows; rows are the latents' own matter."""
        if self.unit_dim == 0:
            self.groups = self.groups[units]
