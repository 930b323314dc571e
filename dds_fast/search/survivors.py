"""Leaving out dictionary entries that can no longer sound.

An activation that has crossed zero has no gradient, and Adam's momentum, which carried it across,
only pushes it further: it never returns. Entries that are dead in every frame change nothing any
more, so the search goes on without them (whole flows of a bank, single rows of a Glow; the compiled
search on a CPU also leaves out single rows of a bank, see ``cpu/gradient.py``).
"""

from __future__ import annotations

import torch
from torch import Tensor

from dds_fast.search.problem import State

DROP_EVERY = 25
DROP_SHARE = 0.1
"""Every so many steps, dead entries are dropped if they make up this share."""


def worth_dropping(n_alive: int, n_listed: int) -> bool:
    """Whether so many have died that it pays to go on with those alive; never without any."""
    return 0 < n_alive <= (1 - DROP_SHARE) * n_listed


class Survivors:
    """Which of the J entries still take part; the others as they were last.

    Attributes:
        entries: indices of those that take part.
    """

    def __init__(self, n_entries: int, device: torch.device) -> None:
        self.n_entries = n_entries
        self.entries = torch.arange(n_entries, device=device)
        self._dropped: list[tuple[Tensor, Tensor, Tensor]] = []

    def alive_units(self, active: Tensor, n_units: int) -> Tensor | None:
        """Indices of the units (equal runs of rows of `active`) to go on with, if it pays."""
        alive = active.view(n_units, -1).any(dim=1)
        if not worth_dropping(int(alive.sum()), n_units):
            return None
        return alive.nonzero()[:, 0]

    def keep(self, units: Tensor, n_units: int, D: Tensor, log_likelihoods: Tensor) -> Tensor:
        """Set the other units aside; returns the rows of `D` that are kept."""
        kept = torch.zeros(n_units, dtype=torch.bool, device=D.device)
        kept[units] = True
        kept = kept.repeat_interleave(len(D) // n_units)
        self._dropped.append((self.entries[~kept], D[~kept], log_likelihoods[~kept]))
        self.entries = self.entries[kept]
        return kept.nonzero()[:, 0]

    def state(self, D: Tensor, H: Tensor, log_likelihoods: Tensor | None) -> State:
        """All entries, in their places."""
        activations = H.new_zeros(self.n_entries, H.shape[1])
        activations.index_copy_(0, self.entries, H.clamp_min(0))
        return State(
            self._restored(D, 1).transpose(-1, -2),
            activations,
            None if log_likelihoods is None else self._restored(log_likelihoods, 2),
        )

    def _restored(self, current: Tensor, field: int) -> Tensor:
        full = current.new_empty(self.n_entries, *current.shape[1:])
        parts = [(dropped[0], dropped[field]) for dropped in self._dropped]
        for entries, values in [*parts, (self.entries, current)]:
            full.index_copy_(0, entries, values)
        return full
