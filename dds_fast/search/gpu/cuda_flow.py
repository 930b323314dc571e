"""A frozen flow bank by CUDA kernels: all steps of all flows in one launch."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from dds_fast import _native
from dds_fast.flows.frozen import FrozenFlow
from dds_fast.search.dispatch import Request, accept
from dds_fast.search.gpu.cuda_weights import (
    PRECISIONS,
    PackedBank,
    Target,
    devices,
    n_ctas_for,
    packed_bank,
    shape_of,
    target_of,
)

STASH_BYTES = 8 << 30
"""Activations are kept for the gradient up to this size; beyond it the rows are kept instead, and
passed through the flow once more, in chunks."""

ROW_TILE = 8


@dataclass(frozen=True)
class Stash:
    """What `backward` needs of one forward pass: the kernels' own stash, or the rows; and the flows
    that the blocks of rows passed through."""

    data: Tensor | None
    rows: Tensor | None
    precision: str
    groups: Tensor | None


def _refusal(request: Request) -> str | None:
    if request.device.type != "cuda":
        return f"computes on cuda, not on {request.device.type}"
    if request.dtype != torch.float32 or request.precision not in PRECISIONS:
        return (
            f"computes in {', '.join(PRECISIONS)} with float32 tensors, not in {request.precision} "
            f"with {str(request.dtype).removeprefix('torch.')} tensors"
        )
    try:
        found = devices()
    except ImportError as error:
        return str(error)
    if isinstance(found, str):
        return found
    target = target_of(_index(request.device))
    built = _native.cuda().compiled_architectures()
    major, minor = target.capability
    if 10 * major + minor < oldest(built):
        return f"built for {built}, the device has compute capability {major}.{minor}"
    if request.flow is None:
        return None
    known, key = request.flow.packed, ("cuda refusal", request.precision, target)
    if key not in known:
        known[key] = refusal_of(request.flow, request.precision, target)
    return known[key]


def oldest(architectures: str) -> int:
    """The oldest architecture of a build, as in CMake's "80-real 90-virtual"."""
    return min([int(number) for number in re.findall(r"\d+", architectures)], default=80)


def refusal_of(flow: FrozenFlow, precision: str, target: Target) -> str | None:
    """Why the kernels do not serve a flow, or None."""
    try:
        shape = shape_of(flow, precision, n_ctas_for(flow, precision, target, 1))
        for name in ("forward", "backward"):
            shape.plan(name, 1, target.shared_memory)
    except ValueError as error:
        return str(error)
    return None


def can_run(request: Request, raise_error: bool = False) -> bool:
    """Whether the CUDA kernels serve `request`: float32 tensors on a device that the module was
    built for, and a bank (a flow whose steps permute) that fits its shared memory."""
    return accept(_refusal(request), raise_error)


def _index(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index


def _packed(flow: FrozenFlow, direction: str, precision: str, rows: Tensor) -> PackedBank:
    target = target_of(_index(flow.device))
    return packed_bank(flow, direction, precision, target, rows.shape[1])


def forward(
    flow: FrozenFlow,
    rows: Tensor,
    direction: str,
    keep: bool = True,
    precision: str | None = None,
    *,
    groups: Tensor | None = None,
) -> tuple[Tensor, Tensor, Stash | None]:
    """Pass ``(B, R, F)`` rows through the flow; like ``reference.forward``.

    `groups` ``(B,)``, int64 on the device, names the flow of each block of rows; None: in order.
    Runs on the current stream without waiting for it, so it can be captured in a CUDA graph.
    """
    precision = precision or "float32"
    with torch.cuda.device(rows.device):
        return forward_packed(_packed(flow, direction, precision, rows), rows, keep, groups)


def forward_packed(
    packed: PackedBank, rows: Tensor, keep: bool, groups: Tensor | None
) -> tuple[Tensor, Tensor, Stash | None]:
    """`forward` through a packed bank."""
    fits = packed.stash_bytes(*rows.shape[:2]) <= STASH_BYTES
    out, log_det, data = packed.forward(rows, groups, keep and fits)
    if not keep:
        return out, log_det, None
    kept = None if fits else rows.detach().clone()
    return out, log_det, Stash(data, kept, packed.precision, groups)


def backward(
    flow: FrozenFlow,
    stash: Stash,
    grad_rows: Tensor,
    grad_log_det: Tensor | None,
    direction: str,
) -> Tensor:
    """Gradient to the input rows of `forward`; like ``reference.backward``."""
    with torch.cuda.device(grad_rows.device):
        packed = _packed(flow, direction, stash.precision, grad_rows)
        return backward_packed(packed, stash, grad_rows, grad_log_det)


def backward_packed(
    packed: PackedBank,
    stash: Stash,
    grad_rows: Tensor,
    grad_log_det: Tensor | None,
) -> Tensor:
    """`backward` through a packed bank."""
    groups = stash.groups
    if stash.data is not None:
        return packed.backward(stash.data, grad_rows, grad_log_det, groups)
    assert stash.rows is not None
    n_blocks, n_rows, _ = grad_rows.shape
    tile_bytes = packed.stash_bytes(n_blocks, ROW_TILE)
    chunk = max(STASH_BYTES // tile_bytes, 1) * ROW_TILE
    grad_in = torch.empty_like(grad_rows, memory_format=torch.contiguous_format)
    for first in range(0, n_rows, chunk):
        part = slice(first, first + chunk)
        data = packed.forward(stash.rows[:, part], groups, True)[2]
        assert data is not None
        grad_in[:, part] = packed.backward(
            data,
            grad_rows[:, part],
            None if grad_log_det is None else grad_log_det[:, part],
            groups,
        )
    return grad_in


def update(
    flow: FrozenFlow,
    stash: Stash,
    grad_entries: Tensor,
    row_weights: Tensor | None,
    grad_log_likelihoods: Tensor,
    scalars: Tensor,
    latents: Tensor,
    moments: tuple[Tensor, Tensor],
    entries: Tensor,
    log_likelihoods: Tensor,
    *,
    data_likelihood: bool = False,
    n_fixed: int = 0,
    stopped: Tensor | None = None,
    groups: Tensor | None = None,
) -> None:
    """The latent half-step of a search in one launch: backward, Adam on the latents, decode.

    Every tensor is contiguous and on the flow's device; what changes from step to step lies there
    too, so that a CUDA graph can replay the launch.

    Args:
        flow: the bank, in the decode direction.
        stash: of the decode that made `entries`; holds that of the new one afterwards.
        grad_entries: ``(B, R, F)`` gradient to the entries, or ``(R, F)`` with `row_weights`.
        row_weights: ``(B, R)`` how much of each row of `grad_entries` a block takes, or None.
        grad_log_likelihoods: ``(B, R)``.
        scalars: ``(3,)`` the scale of `grad_entries`, Adam's step size and the correction of its
            root (``search.cpu.adam.corrections``).
        latents: ``(B, R, F)``, moved in place.
        moments: two of ``(B, R, F - n_fixed)``, Adam's, moved in place.
        entries: ``(B, R, F)`` clipped dictionary entries; their signs gate `grad_entries`. The new
            ones take their place.
        log_likelihoods: ``(B, R)``, written: nats per latent dim that moves.
        data_likelihood: whether the likelihood includes the log-determinant.
        n_fixed: leading latent dims that do not move.
        stopped: ``(1,)`` int32; nothing moves where it is not 0.
        groups: as in `forward`.

    Raises:
        ValueError: the stash was too large to keep.
    """
    with torch.cuda.device(latents.device):
        packed = _packed(flow, "decode", stash.precision, latents)
        if stash.data is None:
            raise ValueError(
                f"flow update: the stash of {tuple(latents.shape)} latents exceeds "
                f"{STASH_BYTES >> 30} GiB; use forward and backward on fewer rows"
            )
        packed.update(
            stash.data,
            grad_entries,
            row_weights,
            grad_log_likelihoods,
            scalars,
            stopped,
            data_likelihood,
            n_fixed,
            latents,
            moments,
            entries,
            log_likelihoods,
            groups,
        )
