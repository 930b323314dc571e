"""Frozen flows on batches of rows: decode (z to x) and encode (x to z), with log-determinants."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from dds_fast import arrays, memory
from dds_fast.flows.frozen import FrozenFlow
from dds_fast.ops.once import once
from dds_fast.search import dispatch
from dds_fast.search.engines import ENGINES


class _Flow(torch.autograd.Function):
    @staticmethod
    @arrays.isolated()
    def forward(
        ctx: Any,
        rows: Tensor,
        flow: FrozenFlow,
        direction: str,
        precision: str | None,
        backend: ModuleType,
    ) -> tuple[Tensor, Tensor]:
        keep = ctx.needs_input_grad[0]
        out, log_det, ctx.stash = backend.forward(flow, rows, direction, keep, precision)
        ctx.flow, ctx.direction, ctx.backend = flow, direction, backend
        return out, log_det

    @staticmethod
    @arrays.isolated()
    def backward(
        ctx: Any, grad_out: Tensor, grad_log_det: Tensor
    ) -> tuple[Tensor, None, None, None, None]:
        with torch.no_grad():
            grad = ctx.backend.backward(ctx.flow, ctx.stash, grad_out, grad_log_det, ctx.direction)
        return once(grad, f"flow_{ctx.direction}"), None, None, None, None


def _apply(
    flow: FrozenFlow, rows: Tensor, direction: str, precision: str | None, backend: str
) -> tuple[Tensor, Tensor]:
    rows = grouped = arrays.plain(f"flow_{direction}: rows", rows)
    if rows.ndim == 2 and flow.n_groups == 1:
        grouped = rows[None]
    expected = (flow.n_groups, flow.n_features)
    if grouped.ndim != 3 or (grouped.shape[0], grouped.shape[2]) != expected:
        raise ValueError(
            f"flow_{direction}: rows must be ({flow.n_groups}, R, {flow.n_features})"
            f"{' or (R, F)' if flow.n_groups == 1 else ''}, not {tuple(rows.shape)}"
        )
    if rows.dtype != flow.dtype or rows.device != flow.device:
        raise ValueError(
            f"flow_{direction}: rows are {rows.dtype} on {rows.device}, the flow is {flow.dtype} "
            f"on {flow.device}"
        )
    request = dispatch.Request.of(rows, precision, flow)
    engine = dispatch.select("flow", ENGINES, request, backend)
    work = f"flow_{direction} of {rows.shape[-2]} rows"
    with memory.explained(2 * rows.nbytes, work, "fewer rows", rows.device.type):
        out, log_det = _Flow.apply(grouped, flow, direction, precision, engine.flow)
    return out.reshape(rows.shape), log_det.reshape(rows.shape[:-1])


def flow_decode(
    flow: FrozenFlow, z: Tensor, *, precision: str | None = None, backend: str = "auto"
) -> tuple[Tensor, Tensor]:
    """Generate spectra from latent codes: ``x = g(z)``.

    Gradients flow to `z` only, once (no double backward).

    Args:
        flow: a frozen flow or bank, from ``freeze()``.
        z: ``(G, R, F)`` latent codes of the flow's dtype and device; ``(R, F)`` for one flow.
        precision: of the products ("float32", "bf16x3", "bfloat16", ...); None: that of z's dtype.
        backend: a backend's name, or "auto".

    Returns:
        x of z's shape, and decode's own ``log|det dx/dz|`` of shape ``(G, R)`` or ``(R,)``.

    Raises:
        ValueError: wrong shape, dtype or device, unknown precision or backend.
        RuntimeError: the backend asked for cannot run.
        MemoryError: it does not fit, with its size.

    Example:
        >>> import torch
        >>> from dds_fast.flows import RealNVPBank
        >>> flow = RealNVPBank(3, 8, n_steps=2, width=4, depth=1).freeze()
        >>> x, log_det = flow_decode(flow, torch.zeros(3, 5, 8))
        >>> x.shape, log_det.shape
        (torch.Size([3, 5, 8]), torch.Size([3, 5]))
    """
    return _apply(flow, z, "decode", precision, backend)


def flow_encode(
    flow: FrozenFlow, x: Tensor, *, precision: str | None = None, backend: str = "auto"
) -> tuple[Tensor, Tensor]:
    """Latent codes of spectra: ``z = f(x)``, the inverse of `flow_decode`, with its own log-det.

    Arguments, results and errors as `flow_decode`, with x and z exchanged.

    Example:
        >>> from dds_fast.flows import RealNVPBank
        >>> flow = RealNVPBank(3, 8, n_steps=2, width=4, depth=1).freeze()
        >>> z = torch.ones(3, 5, 8)
        >>> x, log_det = flow_decode(flow, z)
        >>> again, inverse = flow_encode(flow, x)
        >>> torch.allclose(again, z, atol=1e-5), torch.allclose(inverse, -log_det, atol=1e-5)
        (True, True)
    """
    return _apply(flow, x, "encode", precision, backend)
