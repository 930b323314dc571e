"""Flow banks as the CUDA kernels read them: packed once per precision, then launched.

The layout is that of csrc/cuda/bank_layout.h. A flow keeps its packed weights for as long as
it lives; both directions share them, and the gradient has a transposed copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from dds_fast import _native
from dds_fast.flows.frozen import FrozenFlow, FrozenStep

PRECISIONS = ("float32", "tf32", "bfloat16")


@dataclass(frozen=True)
class Target:
    """What a bank is packed for.

    Attributes:
        capability: compute capability; clusters of CTAs need (9, 0).
        n_multiprocessors: of the device.
        shared_memory: bytes that one CTA can have.
        order: None for a device. A number emulates the kernels on the CPU, for tests: with the
            threads of a CTA in order (0) or in a random one (the seed).
    """

    capability: tuple[int, int]
    n_multiprocessors: int
    shared_memory: int
    order: int | None = None


@cache
def devices() -> list[dict[str, Any]] | str:
    """The CUDA devices, or why there is none."""
    return _native.cuda().device_query()


@cache
def target_of(index: int) -> Target:
    """The CUDA device of that index."""
    found = devices()
    assert not isinstance(found, str), found
    device = found[index]
    return Target(
        device["compute_capability"], device["n_multiprocessors"], device["shared_memory"]
    )


def address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def rounded_to_tf32(weights: Tensor) -> Tensor:
    """To 10 bits of mantissa, ties to even."""
    bits = weights.view(torch.int32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)


def shape_of(flow: FrozenFlow, precision: str, n_ctas: int) -> Any:
    """The native description of a bank.

    Raises:
        ValueError: the kernels do not serve such a flow, and why.
    """
    first = flow.steps[0].coupling
    widths = [w.shape[1] for w in first.weights[:-1]]
    for step in flow.steps:
        if step.mixing is not None:
            raise ValueError("serves banks, whose steps permute, not flows that mix by a matrix")
        coupling = step.coupling
        same_widths = [w.shape[1] for w in coupling.weights[:-1]] == widths
        if not same_widths or coupling.activation != first.activation:
            raise ValueError("serves flows whose steps are all of one size and activation")
    return _native.cuda().Bank(
        precision, flow.n_features, first.n_passing, widths, len(flow.steps), n_ctas
    )


def _pack_records(flow: FrozenFlow, direction: str) -> Tensor:
    """``(G, steps + 1, bytes)``: places of the features before each coupling and at the end."""
    F, decode = flow.n_features, direction == "decode"
    place = torch.arange(F, device=flow.device).repeat(flow.n_groups, 1)
    records = torch.zeros(
        (flow.n_groups, len(flow.steps) + 1, _native.cuda().record_bytes(F)),
        dtype=torch.uint8,
        device=flow.device,
    )
    places, scales = records[..., : 2 * F], records[..., -16:-8]
    for i, step in enumerate(reversed(flow.steps) if decode else flow.steps):
        if not decode and step.order is not None:
            place = place.gather(1, step.order)
        pair = torch.stack([step.coupling.alpha, step.coupling.beta], dim=-1).detach()
        places[:, i] = place.to(torch.int16).view(torch.uint8)
        scales[:, i] = pair.view(torch.uint8)
        if decode and step.order is not None:
            place = place.gather(1, step.inverse_order)
    places[:, -1] = place.to(torch.int16).view(torch.uint8)
    return records


class BankWeights:
    """The weights of a bank in the order in which the kernels stream them."""

    def __init__(self, steps: tuple[FrozenStep, ...], shape: Any, precision: str) -> None:
        self.steps, self.shape, self.precision = steps, shape, precision
        self.copies: dict[bool, Tensor] = {}

    def copy(self, transposed: bool) -> Tensor:
        """``(G, steps, chunks, bytes)``; that of the gradient is made when it is first needed."""
        if transposed not in self.copies:
            self.copies[transposed] = self._pack(transposed)
        return self.copies[transposed]

    def _pack(self, transposed: bool) -> Tensor:
        native, first = _native.cuda(), self.steps[0].coupling
        device = first.alpha.device
        dtype = torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        n_chunks = self.shape.n_chunks(transposed)
        weights = torch.empty((n_chunks, native.WEIGHT_BYTES // dtype.itemsize), dtype=torch.int64)
        biases = torch.empty((n_chunks, native.PANEL_COLUMNS), dtype=torch.int64)
        self.shape.sources(transposed, weights.data_ptr(), biases.data_ptr())
        weights, biases = weights.to(device), biases.to(device)
        packed = torch.empty(
            (first.n_groups, len(self.steps), n_chunks, native.CHUNK_BYTES),
            dtype=torch.uint8,
            device=device,
        )
        # Index -1 is the zero behind the last number.
        zero = torch.zeros((first.n_groups, 1), device=device)
        for i, step in enumerate(self.steps):
            coupling = step.coupling
            flat = torch.cat([w.detach().flatten(1) for w in coupling.weights] + [zero], 1)
            if self.precision == "tf32":
                flat = rounded_to_tf32(flat)
            flat_biases = torch.cat([b.detach() for b in coupling.biases] + [zero], 1)
            packed[:, i, :, : native.WEIGHT_BYTES] = flat.to(dtype)[:, weights].view(torch.uint8)
            packed[:, i, :, native.WEIGHT_BYTES :] = flat_biases[:, biases].view(torch.uint8)
        return packed


def _weights_of(flow: FrozenFlow, shape: Any, precision: str) -> BankWeights:
    key: Any = ("cuda weights", precision, shape.n_ctas)
    if key not in flow.packed:
        flow.packed[key] = BankWeights(flow.steps, shape, precision)
    return flow.packed[key]


class PackedBank:
    """A frozen bank in one direction at one precision, for one target.

    The flow keeps it, so it does not keep the flow.
    """

    def __init__(
        self, flow: FrozenFlow, direction: str, precision: str, target: Target, n_ctas: int
    ) -> None:
        self.direction, self.precision, self.target = direction, precision, target
        self.device, self.n_steps = flow.device, len(flow.steps)
        self.shape = shape_of(flow, precision, n_ctas)
        self.weights = _weights_of(flow, self.shape, precision)
        self.activation = flow.steps[0].coupling.activation
        sign = 1.0 if direction == "decode" else -1.0
        self.constants = (sign * flow.log_det).float().contiguous()
        self.records = _pack_records(flow, direction)
        self.plans: dict[tuple[str, int], Any] = {}

    def plan(self, name: str, n_rows: int) -> Any:
        """How a pass over `n_rows` rows per flow is laid out."""
        key = (name, n_rows)
        if key not in self.plans:
            self.plans[key] = self.shape.plan(name, n_rows, self.target.shared_memory)
        return self.plans[key]

    def stash_bytes(self, n_blocks: int, n_rows: int) -> int:
        """What a forward pass over blocks of rows keeps for the gradient."""
        return n_blocks * self.n_steps * self.plan("forward", n_rows).stash_bytes

    def _launch(
        self, passes: tuple[str, ...], n_blocks: int, groups: Tensor | None, stash: Tensor | None
    ) -> Any:
        emulated = self.target.order is not None
        stream = 0 if emulated else torch.cuda.current_stream(self.device).cuda_stream
        return _native.cuda().Launch(
            self.direction,
            self.activation,
            n_blocks,
            address(groups),
            self.weights.copy(False).data_ptr() if "forward" in passes else 0,
            self.weights.copy(True).data_ptr() if "backward" in passes else 0,
            self.records.data_ptr(),
            self.constants.data_ptr(),
            address(stash),
            stream,
            self.target.order,
        )

    def forward(
        self, rows: Tensor, groups: Tensor | None, keep: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """``(B, R, F)`` rows, their ``(B, R)`` log-determinant, and the stash."""
        n_blocks, n_rows, _ = rows.shape
        rows = rows.detach().contiguous()
        out, log_det = torch.empty_like(rows), rows.new_empty((n_blocks, n_rows))
        stash = None
        if keep:
            size = self.stash_bytes(n_blocks, n_rows)
            stash = torch.empty(size // 4, dtype=torch.float32, device=rows.device)
        if rows.numel():
            _native.cuda().bank_forward(
                self.plan("forward", n_rows),
                self._launch(("forward",), n_blocks, groups, stash),
                rows.data_ptr(),
                out.data_ptr(),
                log_det.data_ptr(),
            )
        return out, log_det, stash

    def backward(
        self,
        stash: Tensor,
        grad_out: Tensor,
        grad_log_det: Tensor | None,
        groups: Tensor | None,
    ) -> Tensor:
        """Gradient to the rows of `forward`."""
        n_blocks, n_rows, _ = grad_out.shape
        grad_out = grad_out.detach().contiguous()
        if grad_log_det is not None:
            grad_log_det = grad_log_det.detach().contiguous()
        grad_in = torch.empty_like(grad_out)
        if grad_out.numel():
            _native.cuda().bank_backward(
                self.plan("backward", n_rows),
                self._launch(("backward",), n_blocks, groups, stash),
                grad_out.data_ptr(),
                address(grad_log_det),
                grad_in.data_ptr(),
            )
        return grad_in

    def update(
        self,
        stash: Tensor,
        grad_entries: Tensor,
        row_weights: Tensor | None,
        grad_log_likelihoods: Tensor,
        scalars: Tensor,
        stopped: Tensor | None,
        data_likelihood: bool,
        n_fixed: int,
        latents: Tensor,
        moments: tuple[Tensor, Tensor],
        entries: Tensor,
        log_likelihoods: Tensor,
        groups: Tensor | None,
    ) -> None:
        """The latent half-step of a search, in place; see ``cuda.update``."""
        n_blocks, n_rows, _ = latents.shape
        if latents.numel():
            _native.cuda().bank_update(
                self.plan("update", n_rows),
                self._launch(("forward", "backward"), n_blocks, groups, stash),
                grad_entries.data_ptr(),
                address(row_weights),
                grad_log_likelihoods.data_ptr(),
                scalars.data_ptr(),
                address(stopped),
                data_likelihood,
                n_fixed,
                latents.data_ptr(),
                moments[0].data_ptr(),
                moments[1].data_ptr(),
                entries.data_ptr(),
                log_likelihoods.data_ptr(),
            )


def n_ctas_for(flow: FrozenFlow, precision: str, target: Target, n_rows: int) -> int:
    """CTAs that share a flow: two, unless some blocks would then have to wait for others."""
    if target.capability < (9, 0):
        return 1
    plan = shape_of(flow, precision, 2).plan("update", n_rows, target.shared_memory)
    return 2 if 2 * flow.n_groups * plan.n_row_blocks <= target.n_multiprocessors else 1


def packed_bank(
    flow: FrozenFlow, direction: str, precision: str, target: Target, n_rows: int
) -> PackedBank:
    """The packed form of a bank for so many rows per flow, made when it is first asked for."""
    key: Any = ("cuda", direction, precision, target, n_rows)
    if key not in flow.packed:
        n_ctas = n_ctas_for(flow, precision, target, n_rows)
        shared: Any = ("cuda", direction, precision, target, "CTAs", n_ctas)
        if shared not in flow.packed:
            flow.packed[shared] = PackedBank(flow, direction, precision, target, n_ctas)
        flow.packed[key] = flow.packed[shared]
    return flow.packed[key]
