"""The coupling step by compiled CPU kernels, in float32.

The kernels read weights in a layout of their own (csrc/include/dds/packed_weights.h). Forward and
backward each pack a coupling's weights when they first need them and keep them with the coupling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dds_fast import _native
from dds_fast.ops.coupling_step.reference import Stash
from dds_fast.ops.dispatch import Request, accept
from dds_fast.ops.frozen import Coupling


def can_run(request: Request, raise_error: bool = False) -> bool:
    """Whether the compiled kernels serve `request`: float32 on a CPU, native module present."""
    reason = None
    if request.device.type != "cpu":
        reason = f"computes on cpu, not on {request.device.type}"
    elif request.dtype != torch.float32 or request.precision != "float32":
        reason = f"computes in float32, not {request.precision} with {request.dtype} tensors"
    else:
        try:
            _native.cpu()
        except ImportError as error:
            reason = str(error)
    return accept(reason, raise_error)


@dataclass
class _Packed:
    widths: list[int]
    alpha: Tensor
    beta: Tensor
    forward: Tensor | None = None
    backward: Tensor | None = None


def _packed(coupling: Coupling) -> _Packed:
    if "cpu" not in coupling.packed:
        coupling.packed["cpu"] = _Packed(
            [coupling.n_passing, *(w.shape[1] for w in coupling.weights)],
            coupling.alpha.detach().contiguous(),
            coupling.beta.detach().contiguous(),
        )
    return coupling.packed["cpu"]


def _addresses(tensors: Iterable[Tensor]) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]


def _pack(
    coupling: Coupling, size: int, pack: Callable[..., None], *parameters: tuple[Tensor, ...]
) -> Tensor:
    """A buffer of `size` floats per group, filled by the native function `pack`."""
    contiguous = [[p.detach().contiguous() for p in layers] for layers in parameters]
    target = torch.empty(coupling.n_groups * size, dtype=torch.float32)
    pack(
        coupling.n_groups,
        _packed(coupling).widths,
        *map(_addresses, contiguous),
        target.data_ptr(),
        torch.get_num_threads(),
    )
    return target


def _forward_weights(coupling: Coupling) -> Tensor:
    packed, native = _packed(coupling), _native.cpu()
    if packed.forward is None:
        size = native.forward_packed_size(packed.widths)
        packed.forward = _pack(
            coupling, size, native.pack_forward, coupling.weights, coupling.biases
        )
    return packed.forward


def _backward_weights(coupling: Coupling) -> Tensor:
    packed, native = _packed(coupling), _native.cpu()
    if packed.backward is None:
        size = native.backward_packed_size(packed.widths)
        packed.backward = _pack(coupling, size, native.pack_backward, coupling.weights)
    return packed.backward


def _step(coupling: Coupling, rows: int, direction: str, weights: Tensor) -> tuple[Any, ...]:
    """The leading arguments of the native forward and backward."""
    packed = _packed(coupling)
    return (
        coupling.n_groups,
        rows,
        packed.widths,
        coupling.activation,
        direction,
        packed.alpha.data_ptr(),
        packed.beta.data_ptr(),
        weights.data_ptr(),
    )


def _scratch(coupling: Coupling, rows: int, n_threads: int) -> Tensor:
    size = _native.cpu().scratch_size(_packed(coupling).widths, rows, n_threads)
    return torch.empty(size, dtype=torch.float32)


def forward(
    coupling: Coupling, x: Tensor, direction: str, keep: bool = True
) -> tuple[Tensor, Tensor, Stash | None]:
    """Apply the step to ``(G, R, F)`` rows; like ``reference.forward``."""
    weights = _forward_weights(coupling)
    x = x.detach().contiguous()
    groups, rows, n_features = x.shape
    out = torch.empty_like(x)
    log_det = x.new_empty(groups, rows)
    n_threads = torch.get_num_threads()
    stash = scratch = None
    if keep:
        moving = (groups, rows, n_features - coupling.n_passing)
        stash = Stash(
            hidden=tuple(x.new_empty(groups, rows, w.shape[1]) for w in coupling.weights[:-1]),
            bounded=x.new_empty(moving),
            scale=x.new_empty(moving),
            moved=x.new_empty(moving) if direction == "decode" else x[..., coupling.n_passing :],
        )
    else:
        scratch = _scratch(coupling, rows, n_threads)
    _native.cpu().coupling_forward(
        *_step(coupling, rows, direction, weights),
        x.data_ptr(),
        out.data_ptr(),
        log_det.data_ptr(),
        _addresses(stash.hidden) if stash else [],
        stash.bounded.data_ptr() if stash else 0,
        stash.scale.data_ptr() if stash else 0,
        stash.moved.data_ptr() if stash else 0,
        0 if scratch is None else scratch.data_ptr(),
        n_threads,
    )
    return out, log_det, stash


def backward(
    coupling: Coupling,
    stash: Stash,
    grad_out: Tensor,
    grad_log_det: Tensor | None,
    direction: str,
) -> Tensor:
    """Gradient to the input of `forward`; like ``reference.backward``."""
    weights = _backward_weights(coupling)
    grad_out = grad_out.detach().contiguous()
    rows = grad_out.shape[1]
    grad_x = torch.empty_like(grad_out)
    hidden = [h.contiguous() for h in stash.hidden]
    bounded, scale = stash.bounded.contiguous(), stash.scale.contiguous()
    moved = stash.moved if stash.moved.stride(-1) == 1 else stash.moved.contiguous()
    if grad_log_det is not None:
        grad_log_det = grad_log_det.detach().contiguous()
    n_threads = torch.get_num_threads()
    scratch = _scratch(coupling, rows, n_threads)
    _native.cpu().coupling_backward(
        *_step(coupling, rows, direction, weights),
        _addresses(hidden),
        bounded.data_ptr(),
        scale.data_ptr(),
        moved.data_ptr(),
        moved.stride(0),
        moved.stride(1),
        grad_out.data_ptr(),
        0 if grad_log_det is None else grad_log_det.data_ptr(),
        grad_x.data_ptr(),
        scratch.data_ptr(),
        n_threads,
    )
    return grad_x
