"""One tanh-bounded affine coupling step, for a group of flows at once."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from dds_fast import arrays
from dds_fast.flows.frozen import Coupling
from dds_fast.flows.reference import coupling as reference
from dds_fast.ops.coupling_step import cpu, triton
from dds_fast.ops.once import once
from dds_fast.search import dispatch

BACKENDS: dict[str, ModuleType] = {"cpu": cpu, "triton": triton, "reference": reference}

DIRECTIONS = ("encode", "decode")


class _CouplingStep(torch.autograd.Function):
    @staticmethod
    @arrays.own_rules()
    def forward(
        ctx: Any,
        x: Tensor,
        coupling: Coupling,
        direction: str,
        precision: str | None,
        backend: ModuleType,
    ) -> tuple[Tensor, Tensor]:
        keep = ctx.needs_input_grad[0]
        y, log_det, ctx.stash = backend.forward(coupling, x, direction, keep, precision)
        ctx.set_materialize_grads(False)
        ctx.coupling, ctx.direction, ctx.backend = coupling, direction, backend
        ctx.zeros = partial(torch.zeros, y.shape, dtype=y.dtype, device=y.device)
        return y, log_det

    @staticmethod
    @arrays.own_rules()
    def backward(
        ctx: Any, grad_y: Tensor | None, grad_log_det: Tensor | None
    ) -> tuple[Tensor, None, None, None, None]:
        if grad_y is None:
            grad_y = ctx.zeros()
        with torch.no_grad():
            grad_x = ctx.backend.backward(
                ctx.coupling, ctx.stash, grad_y, grad_log_det, ctx.direction
            )
        return once(grad_x, "coupling_step"), None, None, None, None


def _check(coupling: Coupling, x: Tensor, direction: str) -> None:
    if direction not in DIRECTIONS:
        raise ValueError(f"coupling_step: direction must be one of {DIRECTIONS}, not {direction!r}")
    if x.ndim != 3 or (x.shape[0], x.shape[2]) != (coupling.n_groups, coupling.n_features):
        raise ValueError(
            f"coupling_step: x must be ({coupling.n_groups}, R, {coupling.n_features}), "
            f"not {tuple(x.shape)}"
        )
    for name, tensors in (
        ("weights", coupling.weights),
        ("biases", coupling.biases),
        ("alpha", (coupling.alpha,)),
        ("beta", (coupling.beta,)),
    ):
        for tensor in tensors:
            if (tensor.dtype, tensor.device) != (x.dtype, x.device):
                raise ValueError(
                    f"coupling_step: x is {x.dtype} on {x.device}, but the coupling's {name} are "
                    f"{tensor.dtype} on {tensor.device}"
                )
    width = coupling.n_passing
    for i, (weight, bias) in enumerate(zip(coupling.weights, coupling.biases, strict=True)):
        groups, n_out = weight.shape[:2]
        if weight.ndim != 3 or groups != coupling.n_groups or weight.shape[2] != width:
            raise ValueError(
                f"coupling_step: weights[{i}] must be ({coupling.n_groups}, out, {width}), "
                f"not {tuple(weight.shape)}"
            )
        if bias.shape != (coupling.n_groups, n_out):
            raise ValueError(
                f"coupling_step: biases[{i}] must be ({coupling.n_groups}, {n_out}), "
                f"not {tuple(bias.shape)}"
            )
        width = n_out


def coupling_step(
    coupling: Coupling,
    x: Tensor,
    *,
    direction: str,
    precision: str | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Apply one affine coupling step of every group to its rows.

    The first half of a row passes through; an MLP of it gives the log-scale ``s = alpha tanh(r) +
    beta`` and the translation ``t`` of the second half: ``exp(s) b + t`` in the encode direction,
    ``(b - t) exp(-s)`` in the decode direction.

    Gradients flow to `x` only, once (no double backward).

    Args:
        coupling: parameters of the step, frozen.
        x: ``(G, R, F)`` rows, R per group.
        direction: "encode" or "decode".
        precision: of the products ("float32", "bf16x3", "bfloat16", ...); None: that of `x`.
        backend: "auto", or the name of one of ``BACKENDS``.

    Returns:
        The ``(G, R, F)`` result and its ``(G, R)`` log-determinant, in the dtype of `x`.

    Raises:
        ValueError: shapes, dtypes or devices of `x` and `coupling` disagree; unknown `direction`
            or `backend`.
        RuntimeError: the backend cannot run on `x`, with its reason.

    Example:
        >>> import torch
        >>> from dds_fast.ops import Coupling, coupling_step
        >>> weights = (torch.randn(2, 8, 3), torch.randn(2, 4, 8))
        >>> biases = (torch.randn(2, 8), torch.randn(2, 4))
        >>> coupling = Coupling(weights, biases, torch.ones(2), torch.zeros(2), "selu")
        >>> x = torch.randn(2, 10, 5)
        >>> y, log_det = coupling_step(coupling, x, direction="encode")
        >>> y.shape, log_det.shape
        (torch.Size([2, 10, 5]), torch.Size([2, 10]))
        >>> back, inverse_log_det = coupling_step(coupling, y, direction="decode")
        >>> torch.allclose(back, x, atol=1e-4), torch.allclose(inverse_log_det, -log_det, atol=1e-4)
        (True, True)
    """
    x = arrays.plain("coupling_step: x", x)
    _check(coupling, x, direction)
    request = dispatch.Request.of(x, precision)
    module = dispatch.select("coupling_step", BACKENDS, request, backend)
    return _CouplingStep.apply(x, coupling, direction, precision, module)
