"""A frozen flow by Triton kernels: a bank in one launch, a Glow layer by layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dds_fast.flows.frozen import FrozenFlow
from dds_fast.search.gpu.bank import TiledBank
from dds_fast.search.gpu.glow import LayeredFlow
from dds_fast.search.gpu.weights import Stash, on_device_of


def _tiled(flow: FrozenFlow, direction: str) -> TiledBank | LayeredFlow:
    """The flow as the kernels read it, made when it is first asked for."""
    key: Any = ("triton", direction)
    if key not in flow.packed:
        made = TiledBank if flow.steps[0].mixing is None else LayeredFlow
        flow.packed[key] = made(flow, direction)
    return flow.packed[key]


def forward(
    flow: FrozenFlow,
    rows: Tensor,
    direction: str,
    keep: bool = True,
    precision: str | None = None,
    groups: Tensor | None = None,
) -> tuple[Tensor, Tensor, Stash | None]:
    """Pass ``(G, R, F)`` rows through the flow; like ``reference.forward``.

    `groups` says which flow of a bank each block of rows passes through; by default all in order.
    """
    rows = rows.detach().contiguous()
    if groups is None:
        groups = torch.arange(flow.n_groups, device=rows.device)
    with on_device_of(rows):
        return _tiled(flow, direction).forward(rows, keep, precision or "float32", groups)


def backward(
    flow: FrozenFlow,
    stash: Stash,
    grad_rows: Tensor,
    grad_log_det: Tensor | None,
    direction: str,
) -> Tensor:
    """Gradient to the input rows of `forward`; like ``reference.backward``."""
    grad_rows = grad_rows.detach().contiguous()
    if grad_log_det is None:
        grad_log_det = grad_rows.new_zeros(grad_rows.shape[:2])
    with on_device_of(grad_rows):
        tiled = _tiled(flow, direction)
        return tiled.backward(stash, grad_rows, grad_log_det.detach().contiguous())
