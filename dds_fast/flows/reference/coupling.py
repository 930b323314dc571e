r"""The coupling step in plain PyTorch: the definition of truth, in any floating dtype.

With ``[a | b]`` the passing and the transformed half (DDS paper, section III;
docs/method.md, Flows):

.. math:: [r | t] = \mathrm{MLP}(a), \quad s = \alpha \tanh r + \beta, \qquad
          \text{encode: } b' = e^{s} b + t, \quad \text{decode: } b = (b' - t) e^{-s}.

Every function is differentiable by autograd, parameters included, so the trainable flows use it
too; `backward` is the analytic gradient to the input alone, for frozen flows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from dds_fast.flows.frozen import Coupling

SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772
LEAKY_SLOPE = 0.01


@dataclass(frozen=True)
class Stash:
    """What `backward` needs of one forward pass.

    Attributes:
        hidden: ``(G, R, w)`` per hidden layer, after the activation.
        bounded: ``(G, R, F // 2)``, ``tanh r``.
        scale: ``(G, R, F // 2)``, the factor ``e^s`` (encode) or ``e^-s`` (decode).
        moved: ``(G, R, F // 2)``, the transformed half before scaling (encode) or after (decode).
    """

    hidden: tuple[Tensor, ...]
    bounded: Tensor
    scale: Tensor
    moved: Tensor


def _activate(x: Tensor, activation: str) -> Tensor:
    if activation == "selu":
        return functional.selu(x)
    return functional.leaky_relu(x, LEAKY_SLOPE)


def _activation_slope(y: Tensor, activation: str) -> Tensor:
    """Derivative of the activation, from its output."""
    if activation == "selu":
        return torch.where(y > 0, SELU_SCALE, y + SELU_SCALE * SELU_ALPHA)
    return torch.where(y > 0, 1.0, LEAKY_SLOPE).to(y.dtype)


def forward(
    coupling: Coupling,
    x: Tensor,
    direction: str,
    keep: bool = True,
    precision: str | None = None,
) -> tuple[Tensor, Tensor, Stash | None]:
    """Apply the step to ``(G, R, F)`` rows.

    Returns the ``(G, R, F)`` result, its own ``(G, R)`` log-determinant, and the stash for
    `backward` (None unless `keep`). Computes in the dtype of `x`, whatever `precision`.
    """
    n_passing = coupling.n_passing
    passing, moving = x[..., :n_passing], x[..., n_passing:]
    hidden: list[Tensor] = []
    h = passing
    last = len(coupling.weights) - 1
    for i, (weight, bias) in enumerate(zip(coupling.weights, coupling.biases, strict=True)):
        h = torch.baddbmm(bias[:, None, :], h, weight.transpose(1, 2))
        if i < last:
            h = _activate(h, coupling.activation)
            hidden.append(h)
    raw, translation = h.to(x.dtype).chunk(2, dim=-1)  # autocast may have rounded the products
    bounded = torch.tanh(raw)
    s = coupling.alpha[:, None, None] * bounded + coupling.beta[:, None, None]
    if direction == "encode":
        scale = torch.exp(s)
        moved = moving
        out = moving * scale + translation
        log_det = s.sum(-1)
    else:
        scale = torch.exp(-s)
        out = moved = (moving - translation) * scale
        log_det = -s.sum(-1)
    stash = Stash(tuple(hidden), bounded, scale, moved) if keep else None
    return torch.cat([passing, out], dim=-1), log_det, stash


def backward(
    coupling: Coupling,
    stash: Stash,
    grad_out: Tensor,
    grad_log_det: Tensor | None,
    direction: str,
) -> Tensor:
    """Gradient to the input of `forward`, given those to its result and its log-determinant."""
    n_passing = coupling.n_passing
    grad_passing, grad_moved = grad_out[..., :n_passing], grad_out[..., n_passing:]
    scaled = grad_moved * stash.scale
    if direction == "encode":
        grad_s = scaled * stash.moved
        grad_translation = grad_moved
    else:
        grad_s = -grad_moved * stash.moved
        grad_translation = -scaled
    if grad_log_det is not None:
        sign = 1.0 if direction == "encode" else -1.0
        grad_s = grad_s + sign * grad_log_det[..., None]
    grad_raw = grad_s * coupling.alpha[:, None, None] * (1.0 - stash.bounded * stash.bounded)
    grad_h = torch.cat([grad_raw, grad_translation], dim=-1)
    for weight, y in zip(coupling.weights[:0:-1], stash.hidden[::-1], strict=True):
        grad_h = torch.bmm(grad_h, weight) * _activation_slope(y, coupling.activation)
    grad_passing = grad_passing + torch.bmm(grad_h, coupling.weights[0])
    return torch.cat([grad_passing, scaled], dim=-1)
