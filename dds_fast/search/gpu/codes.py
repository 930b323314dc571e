"""The latent codes of a staged search's chosen entries, in the rows of their flows."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor

from dds_fast.search.gpu import latents
from dds_fast.search.gpu.decoder import Decoder
from dds_fast.search.problem import StagedProblem


@dataclass(frozen=True)
class Rows:
    """Where entries stand among the ``(G, R)`` rows of the flows that take part.

    Flows that have fewer entries than another are filled up with copies of their first one. These
    rows are silent: their activations are zero, as they then stay, and nothing changes by them.

    Attributes:
        groups: ``(G,)`` the flows that take part.
        places: ``(J,)`` each entry's row, ascending.
        entries: ``(G R,)`` the entry in each row.
    """

    groups: Tensor
    places: Tensor
    entries: Tensor

    @classmethod
    def of(cls, labels: Tensor, n_groups: int) -> Rows:
        """Rows of entries with such labels: by source in a bank, else all through one flow."""
        J, device = len(labels), labels.device
        all_of_them = torch.arange(J, device=device)
        if n_groups == 1:
            return cls(torch.zeros(1, dtype=torch.int64, device=device), all_of_them, all_of_them)
        groups, group, counts = torch.unique_consecutive(
            labels, return_inverse=True, return_counts=True
        )
        first, R = torch.cumsum(counts, 0) - counts, int(counts.max())
        places = group * R + all_of_them - first[group]
        entries = first.repeat_interleave(R).index_copy(0, places, all_of_them)
        return cls(groups, places, entries)

    def spread(self, values: Tensor) -> Tensor:
        """``(J, ...)`` values as ``(G, R, ...)``."""
        return values[self.entries].unflatten(0, (len(self.groups), -1))

    def silent(self, H: Tensor) -> Tensor:
        """``(G R, T)`` activations of the rows, zero in those that fill up."""
        return H.new_zeros(len(self.entries), H.shape[1]).index_copy_(0, self.places, H)


class Codes:
    """Codes with Adam's moments; they decode into the entries of all rows, ``(G R, F)``.

    Attributes:
        labels: ``(G R,)`` sources of the rows.
    """

    def __init__(
        self,
        problem: StagedProblem,
        codes: Tensor,
        labels: Tensor,
        precision: str,
        flow_ops: ModuleType,
    ) -> None:
        assert problem.flow is not None
        self.problem = problem
        self.n_free = codes.shape[1] - problem.n_fixed
        self.decoder = Decoder(problem.flow, False, precision, flow_ops)
        self.labels = labels
        rows = self.rows_of(torch.arange(len(labels), device=labels.device))
        self._place(rows, labels, [codes, torch.zeros_like(codes), torch.zeros_like(codes)])

    def rows_of(self, kept: Tensor) -> Rows:
        """Rows that some of the present ones would need."""
        return Rows.of(self.labels[kept], self.decoder.flow.n_groups)

    def _place(self, rows: Rows, labels: Tensor, tensors: list[Tensor]) -> None:
        """``(J, F)`` codes and moments into rows."""
        self.rows, self.labels = rows, labels[rows.entries]
        self.decoder.groups = self.rows.groups
        self.Z, *self.moments = (self.rows.spread(tensor) for tensor in tensors)
        self.gradients = (torch.empty_like(self.Z), self.Z.new_empty(self.Z.shape[:2]))

    def keep(self, kept: Tensor) -> None:
        """Go on with some of the present rows."""
        tensors = [tensor.flatten(0, 1)[kept] for tensor in (self.Z, *self.moments)]
        self._place(self.rows_of(kept), self.labels[kept], tensors)

    def decode(self, move: bool, numbers: Tensor, counters: Tensor) -> tuple[Tensor, Tensor]:
        """Clipped entries and their log-likelihoods; if asked, after a step of Adam."""
        problem, gradients = self.problem, self.gradients if move else None
        log_likelihoods = latents.move(
            self.Z, self.moments, gradients, numbers, counters, problem.n_fixed
        )
        ((rows, log_det),) = self.decoder.decode([self.Z])
        if problem.likelihood == "data":
            log_likelihoods -= log_det / self.n_free
        return rows.clamp_min(0).flatten(0, 1), log_likelihoods.flatten()

    def backward(self, of_entries: Tensor, of_likelihoods: Tensor) -> None:
        """Back through the last decode: the gradients by which the codes move next."""
        of_rows, of_likelihoods = of_entries.view_as(self.Z), of_likelihoods.view(self.Z.shape[:2])
        of_log_det = of_likelihoods / -self.n_free if self.problem.likelihood == "data" else None
        (moved,) = self.decoder.backward([self.Z], [(of_rows, of_log_det)])
        self.gradients[0].copy_(moved)
        self.gradients[1].copy_(of_likelihoods)
