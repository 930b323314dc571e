"""The coupling step by Triton kernels: a flow of one step, without a mixing."""

from __future__ import annotations

import torch
from torch import Tensor

from dds_fast.flows.frozen import Coupling, FrozenFlow, FrozenStep
from dds_fast.search.gpu import flow as flow_ops
from dds_fast.search.gpu.weights import Stash, can_run

__all__ = ["backward", "can_run", "forward"]


def _flow(coupling: Coupling) -> FrozenFlow:
    if "triton" not in coupling.packed:
        none = torch.zeros(coupling.n_groups, dtype=torch.float64, device=coupling.alpha.device)
        coupling.packed["triton"] = FrozenFlow((FrozenStep(coupling),), none)
    return coupling.packed["triton"]


def forward(
    coupling: Coupling,
    x: Tensor,
    direction: str,
    keep: bool = True,
    precision: str | None = None,
) -> tuple[Tensor, Tensor, Stash | None]:
    """Apply the step to ``(G, R, F)`` rows; like ``reference.forward``."""
    return flow_ops.forward(_flow(coupling), x, direction, keep, precision)


def backward(
    coupling: Coupling,
    stash: Stash,
    grad_out: Tensor,
    grad_log_det: Tensor | None,
    direction: str,
) -> Tensor:
    """Gradient to the input of `forward`; like ``reference.backward``."""
    return flow_ops.backward(_flow(coupling), stash, grad_out, grad_log_det, direction)
