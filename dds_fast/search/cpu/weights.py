"""Frozen flows as the CPU kernels read them: packed once per precision, then run.

The layout is that of csrc/cpu/packed_weights.h. Couplings keep their packed weights, flows
their packed mixings, for as long as they live.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dds_fast import _native
from dds_fast.flows.frozen import NOT_UNIFORM, Coupling, FrozenFlow, FrozenStep
from dds_fast.search.dispatch import Request, accept
from dds_fast.search.problem import Problem, StagedProblem
from dds_fast.search.reference import decoder

FORMATS = {"float32": "float32", "bf16x3": "split", "bfloat16": "bfloat16"}
"""How weights and activations of couplings are held, by precision. The state is float32 in all."""


def can_run(request: Request, raise_error: bool = False) -> bool:
    """Whether the compiled kernels serve `request`: float32 on a CPU, native module present."""
    reason = None
    if request.device.type != "cpu":
        reason = f"computes on cpu, not on {request.device.type}"
    elif request.dtype != torch.float32 or request.precision not in FORMATS:
        reason = (
            f"computes in {', '.join(FORMATS)} with float32 tensors, not in {request.precision} "
            f"with {str(request.dtype).removeprefix('torch.')} tensors"
        )
    elif request.flow is not None and not request.flow.uniform:
        reason = NOT_UNIFORM
    else:
        try:
            _native.cpu()
        except ImportError as error:
            reason = str(error)
    return accept(reason, raise_error)


def state_format(precision: str) -> str:
    """How products are made that bfloat16 would spoil: the objective's, and the mixing of a Glow,
    which would round its state at every step. Split, where that is faster than float32."""
    fast = precision != "float32" and _native.cpu().level() == "amx"
    return "split" if fast else "float32"


@dataclass(frozen=True)
class Stash:
    """What `PackedFlow.backward` needs of one forward pass, in the kernels' own layout."""

    data: Tensor
    precision: str


def addresses(tensors: Iterable[Tensor]) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]


def address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def buffer(n_bytes: int) -> Tensor:
    """Fresh memory, in huge pages if the system has them."""
    memory = torch.empty(n_bytes, dtype=torch.uint8)
    _native.cpu().prefer_huge_pages(memory.data_ptr(), n_bytes)
    return memory


class PackedFlow:
    """A frozen flow in one direction at one precision."""

    def __init__(self, flow: FrozenFlow, direction: str, precision: str) -> None:
        if not flow.uniform:
            raise ValueError(f"the CPU's kernels: {NOT_UNIFORM}")
        first = flow.steps[0].coupling
        self.layout = _native.cpu().Layout(
            FORMATS[precision],
            state_format(precision),
            first.n_passing,
            first.n_features - first.n_passing,
            [w.shape[1] for w in first.weights[:-1]],
        )
        self.n_features, self.precision = flow.n_features, precision
        self.constants = flow.log_det.detach().float()
        self.kept: tuple[Tensor, Tensor, Tensor] | None = None
        steps = flow.steps if direction == "encode" else flow.steps[::-1]
        # The kernels hold addresses: the tensors must live as long as they.
        self.tensors = [self._step(step, direction) for step in steps]
        self.native = _native.cpu().Flow(
            self.layout,
            direction,
            first.activation,
            [tuple(address(t) for t in tensors) for tensors in self.tensors],
        )

    def _step(self, step: FrozenStep, direction: str) -> tuple[Tensor | None, ...]:
        coupling = step.coupling
        forward = backward = mixing = None
        if step.order is not None:
            forward, backward = self._places(step.order), self._places(step.inverse_order)
            if direction == "decode":
                forward, backward = backward, forward
        elif step.mixing is not None:
            mixing = self._pack_mixing(step, direction)
        alpha, beta = coupling.alpha.detach().contiguous(), coupling.beta.detach().contiguous()
        return self._pack_coupling(coupling), alpha, beta, forward, backward, mixing

    def _places(self, order: Tensor) -> Tensor:
        """A permutation of features as one of their places in the kernels' state."""
        passing, width = self.layout.passing_width, self.layout.state_width
        n_passing = (self.n_features + 1) // 2
        feature = torch.arange(self.n_features)
        place = torch.where(feature < n_passing, feature, feature - n_passing + passing)
        places = torch.arange(width, dtype=torch.int32).repeat(len(order), 1)
        places[:, place] = place[order].int()
        return places

    def _pack_coupling(self, coupling: Coupling) -> Tensor:
        key = f"cpu {FORMATS[self.precision]}"
        if key not in coupling.packed:
            weights = [w.detach().contiguous() for w in coupling.weights]
            biases = [b.detach().contiguous() for b in coupling.biases]
            packed = buffer(coupling.n_groups * self.layout.coupling_bytes)
            self.layout.pack_coupling(
                coupling.n_groups,
                addresses(weights),
                addresses(biases),
                packed.data_ptr(),
                torch.get_num_threads(),
            )
            coupling.packed[key] = packed
        return coupling.packed[key]

    def _pack_mixing(self, step: FrozenStep, direction: str) -> Tensor:
        matrix, bias = (tensor.contiguous() for tensor in step.affine(direction))
        packed = buffer(len(matrix) * self.layout.mixing_bytes)
        self.layout.pack_mixing(
            len(matrix),
            matrix.data_ptr(),
            bias.data_ptr(),
            packed.data_ptr(),
            torch.get_num_threads(),
        )
        return packed

    def stash(self, groups: int, rows: int) -> Tensor:
        return buffer(groups * rows * self.native.stash_row_bytes)

    def forward(self, rows: Tensor, keep: bool) -> tuple[Tensor, Tensor, Stash | None]:
        """``(G, R, F)`` rows, the couplings' ``(G, R)`` log-determinant, and the stash."""
        rows = rows.detach().contiguous()
        shape, n_threads = rows.shape[:2], torch.get_num_threads()
        out, log_det = torch.empty_like(rows), rows.new_empty(shape)
        stash = self.stash(*shape) if keep else None
        self.native.forward(
            *shape,
            rows.data_ptr(),
            out.data_ptr(),
            log_det.data_ptr(),
            address(stash),
            n_threads,
        )
        return out, log_det, None if stash is None else Stash(stash, self.precision)

    def decoded(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Output and log-determinant of `forward`, kept for when the same rows are asked for again.

        So they are by every recording, and by every window of a long one: a dictionary's own codes.
        """
        if self.kept is None or not torch.equal(self.kept[0], rows):
            self.kept = (rows.detach().clone(), *self.forward(rows, keep=False)[:2])
        return self.kept[1:]

    def backward(self, stash: Stash, grad_out: Tensor, grad_log_det: Tensor | None) -> Tensor:
        """Gradient to the rows of `forward`."""
        grad_out = grad_out.detach().contiguous()
        if grad_log_det is not None:
            grad_log_det = grad_log_det.detach().contiguous()
        shape, n_threads = grad_out.shape[:2], torch.get_num_threads()
        grad_in = torch.empty_like(grad_out)
        self.native.backward(
            *shape,
            stash.data.data_ptr(),
            grad_out.data_ptr(),
            address(grad_log_det),
            grad_in.data_ptr(),
            n_threads,
        )
        return grad_in


def packed_flow(flow: FrozenFlow, direction: str, precision: str) -> PackedFlow:
    """The packed form of a flow, made when it is first asked for."""
    key: Any = ("cpu", direction, precision, state_format(precision))
    if key not in flow.packed:
        flow.packed[key] = PackedFlow(flow, direction, precision)
    return flow.packed[key]


def code_arguments(
    problem: Problem | StagedProblem, flow: PackedFlow, codes: Tensor
) -> dict[str, Any]:
    """What native searches ask about latent codes ``(..., F)``."""
    return {
        "n_groups": len(flow.constants),
        "n_rows": codes.shape[:-1].numel(),
        "n_fixed": problem.n_fixed,
        "data_likelihood": problem.likelihood == "data",
        "most_stash_bytes": decoder.STASH_BYTES,
        "codes": codes,
        "constants": flow.constants,
    }
