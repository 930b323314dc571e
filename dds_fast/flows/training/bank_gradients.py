"""The gradient of a bank's training loss to its parameters, without an autograd graph.

The rows lie feature-major, ``(S, F, rows)``: permutations then move whole runs of memory, and every
product reads the weights as they are stored. A chunk of flows goes through forward and backward
before the next one starts, so that what is kept between the two stays small.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dds_fast.flows.coupling import CouplingStep
from dds_fast.flows.realnvp import RealNVPBank
from dds_fast.flows.reference.coupling import SELU_ALPHA, SELU_SCALE

STASH_BYTES = {"cpu": 64 << 20, "cuda": 8 << 30}
"""What a chunk of flows may keep between forward and backward, by type of device."""


@dataclass(frozen=True)
class _Step:
    """What the backward needs of one step's forward.

    Attributes:
        inputs: of each linear layer, ``(G, in, rows)``.
        bounded: ``tanh r``, ``(G, F // 2, rows)``.
        scale: ``e^s``.
        scaled: ``e^s b``.
    """

    inputs: list[Tensor]
    bounded: Tensor
    scale: Tensor
    scaled: Tensor


@torch.no_grad()
def bank_gradients(
    bank: RealNVPBank, x: Tensor, *, n_rows: int | None = None, precision: str = "float32"
) -> Tensor:
    """Put the gradient of each flow's mean negative log-likelihood into the parameters' ``.grad``.

    The same as ``(bank_loss(bank, x).sum() / n_rows).backward()`` from cleared gradients.

    Args:
        bank: its parameters, all of one dtype.
        x: ``(S, rows, F)`` spectra.
        n_rows: rows that the mean is over, where `x` is only a part of them.
        precision: "bfloat16" rounds the factors of the products; "float32" leaves them.

    Returns:
        ``(S,)`` negative log-likelihoods in nats: sums over the rows of `x`, divided by `n_rows`.
    """
    for parameter in bank.parameters():
        if parameter.grad is None:
            parameter.grad = torch.empty_like(parameter)
    weight = 1 / (n_rows or x.shape[1])
    steps = list(bank.couplings)
    row_bytes = (
        sum(sum(w.shape[2] for w in c.weights) + 3 * (bank.n_features // 2) for c in steps)
        * x.element_size()
    )
    chunk = max(1, STASH_BYTES[x.device.type] // (row_bytes * max(1, x.shape[1])))
    return torch.cat(
        [
            _chunk_gradients(
                bank, slice(first, first + chunk), x[first : first + chunk], weight, precision
            )
            for first in range(0, bank.n_sources, chunk)
        ]
    )


def _chunk_gradients(
    bank: RealNVPBank, flows: slice, x: Tensor, weight: float, precision: str
) -> Tensor:
    """`bank_gradients` of some of the flows."""
    u = x.transpose(1, 2).contiguous()
    log_det = u.new_zeros(len(x), x.shape[1])
    stash = []
    for coupling, order in zip(bank.couplings, bank.orders[:, flows], strict=True):
        u = _reordered(u, order)
        stash.append(_forward(coupling, flows, u, log_det, precision))
    squares = u.square().sum(dim=1)
    losses = 0.5 * (squares + u.shape[1] * math.log(2 * math.pi)) - log_det
    gradient = u * weight
    for coupling, order, step in zip(
        reversed(bank.couplings), bank.orders[:, flows].flip(0), reversed(stash), strict=True
    ):
        _backward(coupling, flows, step, gradient, weight, precision)
        gradient = _reordered(gradient, order.argsort(-1))
    return losses.sum(dim=1) * weight


def _reordered(u: Tensor, order: Tensor) -> Tensor:
    """Features of ``(G, F, rows)`` in the ``(G, F)`` order, copied."""
    G, F, n_rows = u.shape
    first = torch.arange(0, G * F, F, device=u.device)[:, None]
    return u.view(G * F, n_rows).index_select(0, (order + first).view(-1)).view(G, F, n_rows)


def _product(a: Tensor, b: Tensor, precision: str, out: Tensor | None = None) -> Tensor:
    if precision != "bfloat16":
        return torch.bmm(a, b, out=out)
    product = torch.bmm(a.bfloat16(), b.bfloat16())
    return product.to(a.dtype) if out is None else out.copy_(product)


def _forward(
    coupling: CouplingStep, flows: slice, u: Tensor, log_det: Tensor, precision: str
) -> _Step:
    """Encode ``(G, F, rows)`` in place, and add to the ``(G, rows)`` log-determinant."""
    n_passing = u.shape[1] - u.shape[1] // 2
    passing, moving = u[:, :n_passing], u[:, n_passing:]
    inputs = []
    h = passing
    for i, (W, b) in enumerate(zip(coupling.weights, coupling.biases, strict=True)):
        inputs.append(h)
        h = _product(W[flows], h, precision).add_(b[flows, :, None])
        if i < len(coupling.weights) - 1:
            h = torch.selu_(h)
    raw, translation = h.chunk(2, dim=1)
    bounded = raw.tanh()
    s = torch.addcmul(coupling.beta[flows, None, None], coupling.alpha[flows, None, None], bounded)
    log_det += s.sum(dim=1)
    scale = s.exp_()
    scaled = moving * scale
    torch.add(scaled, translation, out=moving)
    return _Step(inputs, bounded, scale, scaled)


def _backward(
    coupling: CouplingStep,
    flows: slice,
    step: _Step,
    gradient: Tensor,
    weight: float,
    precision: str,
) -> None:
    """From the gradient to the step's output to that to its input, in place, and to parameters."""
    n_passing = step.inputs[0].shape[1]
    moved = gradient[:, n_passing:]
    grad_s = torch.mul(moved, step.scaled).sub_(weight)
    beta, alpha = coupling.beta.grad, coupling.alpha.grad
    assert beta is not None and alpha is not None
    beta[flows] = grad_s.sum(dim=(1, 2))
    alpha[flows] = torch.mul(grad_s, step.bounded).sum(dim=(1, 2))
    grad_raw = torch.ops.aten.tanh_backward(
        grad_s.mul_(coupling.alpha[flows, None, None]), step.bounded
    )
    delta = torch.cat([grad_raw, moved], dim=1)
    for i in reversed(range(len(step.inputs))):
        W, b, h = coupling.weights[i], coupling.biases[i], step.inputs[i]
        _product(delta, h.mT, precision, out=W.grad[flows])
        b.grad[flows] = delta.sum(dim=2)
        delta = _product(W[flows].mT, delta, precision)
        if i > 0:
            delta = torch.ops.aten.elu_backward(delta, SELU_ALPHA, SELU_SCALE, 1.0, True, h)
    moved *= step.scale
    gradient[:, :n_passing] += delta
