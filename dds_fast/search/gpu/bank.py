"""A bank of flows (mixed by permutations) through the Triton kernels: one launch per pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dds_fast.flows.frozen import FrozenFlow
from dds_fast.search.gpu.weights import Stash, Tiles, kernels, power_of_two, weights_of


def tiles(width: int, n_rows: int, precision: str) -> Tiles:
    """One program takes as many of a flow's rows as there are, up to 64."""
    m = power_of_two(width, 16, 128)
    k = 64 if precision == "bfloat16" else 32
    return Tiles(m, k, power_of_two(n_rows, 16, 64), 8 if m == 128 else 4)


class TiledBank:
    """A frozen bank in one direction."""

    def __init__(self, flow: FrozenFlow, direction: str) -> None:
        self.flow = flow
        first = flow.steps[0].coupling
        self.depth = len(first.weights) - 1
        self.width = first.weights[0].shape[1] if self.depth else 1
        if any(w.shape[1] != self.width for w in first.weights[:-1]):
            raise ValueError("the Triton kernels need hidden layers of one width")
        self.places = _places(flow, direction)
        self.constants = flow.log_det.float() * (1 if direction == "decode" else -1)
        self.sizes: dict[str, Any] = {
            "N_STEPS": len(flow.steps),
            "FEATURES": flow.n_features,
            "WIDTH": self.width,
            "DEPTH": self.depth,
            "ENCODE": direction == "encode",
            "ACTIVATION": first.activation,
        }

    def forward(
        self, rows: Tensor, keep: bool, precision: str, groups: Tensor
    ) -> tuple[Tensor, Tensor, Stash | None]:
        """``(G, R, F)`` rows, the ``(G, R)`` log-determinant and, if asked for, the stash."""
        G, R, F = rows.shape
        block = tiles(self.width, R, precision)
        n_blocks = -(-R // block.r)
        n_programs = G * n_blocks
        weights = weights_of(self.flow, precision)
        n_kept = len(self.flow.steps) if keep else 1
        out, log_det = torch.empty_like(rows), rows.new_empty(G, R)
        state = rows.new_empty(n_programs, F, block.r)
        hidden = rows.new_empty(
            n_kept, n_programs, self.depth * self.width, block.r, dtype=weights.layers.dtype
        )
        moving = rows.new_empty(n_kept if keep else 0, n_programs, F // 2 * 2, block.r)
        if rows.numel():
            kernels("bank").bank_forward_kernel[(n_blocks, G)](
                rows, out, log_det, groups, self.constants, weights.layers, weights.biases,
                weights.alpha, weights.beta, self.places, state, hidden, moving,
                R, self.flow.n_groups, n_programs,
                KEEP=keep, PRECISION=precision, **self.sizes, **block.product,
            )  # fmt: skip
        return out, log_det, Stash(hidden, moving, precision, groups) if keep else None

    def backward(self, stash: Stash, grad_out: Tensor, grad_log_det: Tensor) -> Tensor:
        """Gradient to the rows of `forward`."""
        G, R, F = grad_out.shape
        block = tiles(self.width, R, stash.precision)
        n_blocks = -(-R // block.r)
        n_programs = G * n_blocks
        weights = weights_of(self.flow, stash.precision)
        grad_in = torch.empty_like(grad_out)
        state = grad_out.new_empty(n_programs, F, block.r)
        scratch = grad_out.new_empty(n_programs, 2, max(F // 2 * 2, self.width), block.r)
        if grad_out.numel():
            kernels("bank").bank_backward_kernel[(n_blocks, G)](
                grad_out, grad_log_det, grad_in, stash.groups, weights.layers, weights.alpha,
                weights.beta, self.places, stash.hidden, stash.moving, state, scratch,
                R, self.flow.n_groups, n_programs,
                PRECISION=stash.precision, **self.sizes, **block.product,
            )  # fmt: skip
        return grad_in


def _places(flow: FrozenFlow, direction: str) -> Tensor:
    """``(steps + 1, G, F)``: where the features lie in each step and, last, at the end.

    The state never moves: the permutations are composed instead.
    """
    place = torch.arange(flow.n_features, device=flow.device).repeat(flow.n_groups, 1)
    places = place.new_empty(len(flow.steps) + 1, *place.shape, dtype=torch.int32)
    indices = range(len(flow.steps))
    for i in indices if direction == "encode" else reversed(indices):
        step = flow.steps[i]
        if step.order is not None and direction == "encode":
            place = place.gather(1, step.order)
        places[i] = place
        if step.order is not None and direction == "decode":
            place = place.gather(1, step.inverse_order)
    places[-1] = place
    return places
