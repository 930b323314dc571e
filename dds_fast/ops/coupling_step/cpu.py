"""The coupling step by compiled CPU kernels: a flow of one step, without a mixing."""

from __future__ import annotations

from torch import Tensor

from dds_fast.flows.frozen import Coupling
from dds_fast.search.cpu.weights import Stash, can_run, packed_coupling

__all__ = ["backward", "can_run", "forward"]


def forward(
    coupling: Coupling,
    x: Tensor,
    direction: str,
    keep: bool = True,
    precision: str | None = None,
) -> tuple[Tensor, Tensor, Stash | None]:
    """Apply the step to ``(G, R, F)`` rows; like ``reference.forward``."""
    return packed_coupling(coupling, direction, precision or "float32").forward(x, keep)


def backward(
    coupling: Coupling,
    stash: Stash,
    grad_out: Tensor,
    grad_log_det: Tensor | None,
    direction: str,
) -> Tensor:
    """Gradient to the input of `forward`; like ``reference.backward``."""
    packed = packed_coupling(coupling, direction, stash.precision)
    return packed.backward(stash, grad_out, grad_log_det)
