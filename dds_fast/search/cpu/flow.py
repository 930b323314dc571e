"""A frozen flow by compiled CPU kernels: all steps in one call."""

from __future__ import annotations

from torch import Tensor

from dds_fast.flows.frozen import FrozenFlow
from dds_fast.search.cpu.weights import Stash, packed_flow


def forward(
    flow: FrozenFlow,
    rows: Tensor,
    direction: str,
    keep: bool = True,
    precision: str | None = None,
) -> tuple[Tensor, Tensor, Stash | None]:
    """Pass ``(G, R, F)`` rows through the flow; like ``reference.forward``."""
    out, log_det, stash = packed_flow(flow, direction, precision or "float32").forward(rows, keep)
    constant = flow.log_det if direction == "decode" else -flow.log_det
    return out, log_det.add_(constant[:, None]), stash


def backward(
    flow: FrozenFlow,
    stash: Stash,
    grad_rows: Tensor,
    grad_log_det: Tensor | None,
    direction: str,
) -> Tensor:
    """Gradient to the input rows of `forward`; like ``reference.backward``."""
    packed = packed_flow(flow, direction, stash.precision)
    return packed.backward(stash, grad_rows, grad_log_det)
