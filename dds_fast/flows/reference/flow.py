"""A frozen flow (bank), step by step: decode and encode, each with its own log-determinant."""

from __future__ import annotations

import torch
from torch import Tensor

from dds_fast.flows.frozen import FrozenFlow, FrozenStep
from dds_fast.flows.reference import coupling

Stash = tuple[coupling.Stash, ...]


def _gather(rows: Tensor, order: Tensor) -> Tensor:
    return rows.gather(-1, order[:, None, :].expand_as(rows))


def unmix(step: FrozenStep, u: Tensor) -> Tensor:
    """Mixing in the decode direction: ``(G, R, F)`` u to x."""
    if step.order is not None:
        return _gather(u, step.inverse_order)
    if step.mixing is None:
        return u
    assert step.shift is not None
    return torch.baddbmm(-step.shift[:, None, :], u, step.mixing.transpose(1, 2))


def mix(step: FrozenStep, x: Tensor) -> Tensor:
    """Mixing in the encode direction: ``(G, R, F)`` x to u."""
    if step.order is not None:
        return _gather(x, step.order)
    if step.mixing is None:
        return x
    assert step.shift is not None
    return torch.bmm(x + step.shift[:, None, :], step.unmixing.transpose(1, 2))


def forward(
    flow: FrozenFlow,
    rows: Tensor,
    direction: str,
    keep: bool = True,
    precision: str | None = None,
) -> tuple[Tensor, Tensor, Stash | None]:
    """Pass ``(G, R, F)`` rows through the flow.

    Returns ``(G, R, F)`` rows, the ``(G, R)`` log-determinant of the direction, and the stash for
    `backward` (None unless `keep`). Computes in the dtype of the rows, whatever `precision`.
    """
    encode = direction == "encode"
    constant = -flow.log_det if encode else flow.log_det
    log_det = constant.to(rows.dtype)[:, None].expand(rows.shape[:2])
    stashes = []
    for step in flow.steps if encode else reversed(flow.steps):
        if encode:
            rows = mix(step, rows)
        rows, step_log_det, stash = coupling.forward(step.coupling, rows, direction, keep)
        if not encode:
            rows = unmix(step, rows)
        log_det = log_det + step_log_det
        if stash is not None:
            stashes.append(stash)
    return rows, log_det, tuple(stashes) if keep else None


def backward(
    flow: FrozenFlow,
    stash: Stash,
    grad_rows: Tensor,
    grad_log_det: Tensor | None,
    direction: str,
) -> Tensor:
    """Gradient to the input rows of `forward`, in the reverse order of its steps."""
    encode = direction == "encode"
    steps = reversed(flow.steps) if encode else flow.steps
    for step, step_stash in zip(steps, reversed(stash), strict=True):
        if not encode:
            grad_rows = _mixing_gradient(step, grad_rows, direction)
        grad_rows = coupling.backward(step.coupling, step_stash, grad_rows, grad_log_det, direction)
        if encode:
            grad_rows = _mixing_gradient(step, grad_rows, direction)
    return grad_rows


def _mixing_gradient(step: FrozenStep, grad: Tensor, direction: str) -> Tensor:
    """Gradient to the input of `mix` (encode) or `unmix` (decode)."""
    if step.order is not None:
        return _gather(grad, step.inverse_order if direction == "encode" else step.order)
    if step.mixing is None:
        return grad
    return torch.bmm(grad, step.unmixing if direction == "encode" else step.mixing)


def stash_bytes_per_row(flow: FrozenFlow) -> int:
    """Bytes that `forward` keeps per row of one group."""
    element = torch.finfo(flow.dtype).bits // 8
    floats = 0
    for step in flow.steps:
        hidden = sum(w.shape[1] for w in step.coupling.weights[:-1])
        floats += hidden + 3 * (flow.n_features // 2)
    return floats * element
