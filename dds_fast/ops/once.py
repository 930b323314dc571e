"""Ops that can be differentiated once: asking for more is an error, not a silent zero."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grad: Tensor, op: str) -> Tensor:
        ctx.op = op
        return grad.view_as(grad)

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor, None]:
        raise RuntimeError(f"{ctx.op}: double backward is not supported")


def once(grad: Tensor, op: str) -> Tensor:
    """A gradient whose own derivative is an error.

    PyTorch's `once_differentiable` lets a double backward through, as zero, whenever the incoming
    gradient is a constant.
    """
    if torch.is_grad_enabled():
        return _Once.apply(grad.requires_grad_(), op)
    return grad
