"""What the Triton backends share: when they can run, block sizes, packed weights.

Weights are packed once per format: all steps of all groups in one tensor, each layer row-major, in
the order in which a pass reads them.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from dds_fast.flows.frozen import NOT_UNIFORM, FrozenFlow
from dds_fast.search.dispatch import Request, accept

PRECISIONS = ("float32", "tf32", "bf16x3", "bfloat16")


def interpreted() -> bool:
    """Whether Triton's interpreter runs the kernels, on the CPU (for tests)."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def can_run(request: Request, raise_error: bool = False) -> bool:
    """Whether the Triton kernels serve `request`: float32 on a GPU, or, if they are asked for by
    name, in the interpreter."""
    reason = None
    simulated = request.device.type == "cpu" and request.named and interpreted()
    if request.device.type != "cuda" and not simulated:
        reason = f"computes on cuda, not on {request.device.type}"
    elif request.dtype != torch.float32 or request.precision not in PRECISIONS:
        reason = (
            f"computes in {', '.join(PRECISIONS)} with float32 tensors, not in "
            f"{request.precision} with {str(request.dtype).removeprefix('torch.')} tensors"
        )
    elif request.flow is not None and not request.flow.uniform:
        reason = NOT_UNIFORM
    elif importlib.util.find_spec("triton") is None:
        reason = "Triton is not installed: pip install 'dds-fast[gpu]'"
    return accept(reason, raise_error)


def kernels(name: str) -> ModuleType:
    """A module of `search.gpu.kernels`, imported when it is first needed."""
    return importlib.import_module(f"dds_fast.search.gpu.kernels.{name}")


def on_device_of(tensor: Tensor) -> AbstractContextManager[Any]:
    """Triton launches on the current device."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def power_of_two(n: int, least: int, most: int) -> int:
    """The smallest power of two that holds `n`, within bounds."""
    return min(most, max(least, 1 << max(n - 1, 0).bit_length()))


@dataclass(frozen=True)
class Tiles:
    """A launch's blocks: features of the result, summed features, rows; and its schedule."""

    m: int
    k: int
    r: int
    warps: int
    stages: int = 3

    def __post_init__(self) -> None:
        # The interpreter takes any size; the hardware's products do not.
        for size in (self.m, self.k, self.r):
            if size < 16 or size & (size - 1):
                raise ValueError(f"block sizes must be powers of two from 16 on, not {size}")

    @property
    def product(self) -> dict[str, int]:
        """Arguments of a kernel that multiplies."""
        return {"BLOCK_K": self.k, **self.elementwise, "num_stages": self.stages}

    @property
    def elementwise(self) -> dict[str, int]:
        """Arguments of a kernel that does not."""
        return {"BLOCK_M": self.m, "BLOCK_R": self.r, "num_warps": self.warps}


@dataclass(frozen=True)
class Weights:
    """The couplings of a flow, ``(steps, groups, ...)`` in encode order.

    Attributes:
        layers: the weights of a coupling side by side, float32 or bfloat16.
        offsets: where each layer begins there.
        biases: float32, likewise.
        bias_offsets: where each layer's biases begin.
        alpha: ``(steps, groups)``.
        beta: ``(steps, groups)``.
    """

    layers: Tensor
    offsets: Sequence[int]
    biases: Tensor
    bias_offsets: Sequence[int]
    alpha: Tensor
    beta: Tensor


def weights_of(flow: FrozenFlow, precision: str) -> Weights:
    """A flow's weights in the format of a precision, packed when first asked for."""
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    key = ("triton", dtype)
    if key not in flow.packed:
        couplings = [step.coupling for step in flow.steps]
        first = couplings[0]
        flow.packed[key] = Weights(
            torch.stack([_side_by_side(c.weights).to(dtype) for c in couplings]),
            _offsets(first.weights),
            torch.stack([_side_by_side(c.biases) for c in couplings]),
            _offsets(first.biases),
            torch.stack([c.alpha for c in couplings]),
            torch.stack([c.beta for c in couplings]),
        )
    return flow.packed[key]


def _side_by_side(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([t.detach().flatten(1) for t in tensors], dim=1)


def _offsets(tensors: Sequence[Tensor]) -> list[int]:
    sizes = [t[0].numel() for t in tensors]
    return [sum(sizes[:i]) for i in range(len(sizes))]


@dataclass(frozen=True)
class Stash:
    """What a backward pass needs of a forward pass.

    Attributes:
        hidden: hidden units after the activation, of all steps.
        moving: ``tanh r`` and the moving half before (encode) or after (decode) its scaling.
        precision: of the products.
        groups: the flow that each block of rows passed through.
    """

    hidden: Tensor
    moving: Tensor
    precision: str
    groups: Tensor
