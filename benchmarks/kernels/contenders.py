"""Who is measured: dds_fast at its precisions, and the same work in PyTorch and flow libraries."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from kernels.cases import Workload, start
from kernels.peers import Decode, batched, loop
from kernels.peers.search import device_starter, starter
from torch import Tensor

from dds_fast import _native
from dds_fast.flows.cuda_graph import WARM_UP, Graphed
from dds_fast.ops import flow_decode
from dds_fast.search import Problem, Schedule, Search

Pass = Callable[[], tuple[Tensor, ...]]
"""Gives x, log-determinant, and perhaps the gradient to z."""


@dataclass(frozen=True)
class Contender:
    """One way to compute.

    Attributes:
        decode: ``(G, R, F)`` latent codes to rows and log-determinants, differentiable.
        start: begins a search on a problem.
        problem: the problem that `start` takes.
        precision: decides the tolerance, see accuracy.py, and the bytes per weight.
        during: entered around everything that the contender computes.
        graphed: whether passes are replayed from a CUDA graph.
        warm_up: calls before the first that is timed.
    """

    decode: Decode
    start: Callable[[Problem, Schedule], Search]
    problem: Problem
    precision: str = "float32"
    during: Callable[[], AbstractContextManager[Any]] = nullcontext
    graphed: bool = False
    warm_up: int = 1

    @property
    def bytes_per_weight(self) -> int:
        return 2 if self.precision == "bfloat16" else 4

    def pass_of(self, quantity: str, *inputs: Tensor) -> Pass:
        """A decode of z ("forward"), or with its backward too ("gradient"), as it is timed."""
        function = {"forward": _forward, "gradient": _gradient}[quantity]
        call = partial(function, self.decode, *inputs)
        return Graphed(call, self.problem.X.device) if self.graphed else call


def _forward(decode: Decode, z: Tensor) -> tuple[Tensor, ...]:
    """As in a search: what the backward needs is kept."""
    x, log_det = decode(z.detach().requires_grad_())
    return x.detach(), log_det.detach()


def _gradient(decode: Decode, z: Tensor, *cotangents: Tensor) -> tuple[Tensor, ...]:
    z = z.detach().requires_grad_()
    x, log_det = decode(z)
    (gradient,) = torch.autograd.grad((x, log_det), z, cotangents)
    return x.detach(), log_det.detach(), gradient


Build = Callable[[Workload], Contender]


def _peer(
    make: Callable[[Workload], Decode],
    precision: str = "float32",
    *,
    share_decode: bool = True,
    graphed: bool = False,
) -> Build:
    """A decoder of PyTorch's; under a CUDA graph both passes and update steps."""

    def build(workload: Workload) -> Contender:
        if graphed and workload.device.type != "cuda":
            raise RuntimeError(f"a CUDA graph needs a GPU, not {workload.device}")
        decode = make(workload)
        return Contender(
            decode,
            device_starter(decode) if graphed else starter(decode, share_decode),
            workload.problem(workload.frozen),
            precision,
            during=tf32 if precision == "tf32" else nullcontext,
            graphed=graphed,
            warm_up=WARM_UP + 2 if graphed else 1,
        )

    return build


def _library(name: str) -> Callable[[Workload], Decode]:
    """A flow library, imported when it is its turn: it may not be installed."""
    return lambda workload: importlib.import_module(f"kernels.peers.{name}").decoder(workload.flow)


def _batched(workload: Workload) -> Decode:
    return batched.decoder(workload.frozen)


def _compiled(workload: Workload) -> Decode:
    return batched.compiled(workload.frozen)


@contextmanager
def tf32() -> Iterator[None]:
    """Let PyTorch round the factors of float32 products to tf32."""
    matmul = torch.backends.cuda.matmul
    before, matmul.allow_tf32 = matmul.allow_tf32, True
    try:
        yield
    finally:
        matmul.allow_tf32 = before


def _ours(
    backend: str, precision: str | None = None, graphed: bool = False, level: str | None = None
) -> Build:
    """The library; with a level of instructions, frozen anew: what is packed suits one alone."""
    options: dict[str, Any] = {"backend": backend}
    if precision is not None:
        options["precision"] = precision

    def build(workload: Workload) -> Contender:
        if level is not None and level not in _native.cpu().levels():
            raise RuntimeError(f"this processor has no {level}")
        frozen = workload.frozen if level is None else workload.flow.freeze()
        return Contender(
            partial(flow_decode, frozen, **options),
            partial(start, **options),
            workload.problem(frozen),
            precision or "float32",
            during=nullcontext if level is None else partial(_level, level),
            graphed=graphed,
            warm_up=WARM_UP + 2 if graphed else 1,
        )

    return build


@contextmanager
def _level(name: str) -> Iterator[None]:
    native = _native.cpu()
    before = native.level()
    native.set_level(name)
    try:
        yield
    finally:
        native.set_level(before)


PYTORCH_LOOP = "PyTorch, loop over flows"
BATCHED = "PyTorch, batched"
BATCHED_SHARED = "PyTorch, batched, one decode"
COMPILED = "PyTorch, batched, one decode, torch.compile"
GRAPHED = "PyTorch, batched, one decode, CUDA graph"
COMPILED_GRAPHED = "PyTorch, batched, one decode, torch.compile, CUDA graph"
NFLOWS = "nflows, loop over flows, one decode"
NORMFLOWS = "normflows, loop over flows, one decode"
REFERENCE = "dds_fast, reference"

OURS: dict[str, Build] = {
    REFERENCE: _ours("reference"),
    "dds_fast, cpu, float32": _ours("cpu"),
    "dds_fast, cpu, bf16x3": _ours("cpu", "bf16x3"),
    "dds_fast, cpu, bfloat16": _ours("cpu", "bfloat16"),
}
LEVELS: dict[str, Build] = {
    f"dds_fast, cpu, float32, {level}": _ours("cpu", level=level) for level in ("avx2", "avx512")
}
PEERS: dict[str, Build] = {
    PYTORCH_LOOP: _peer(lambda workload: loop.decoder(workload.flow), share_decode=False),
    BATCHED: _peer(_batched, share_decode=False),
    BATCHED_SHARED: _peer(_batched),
    NFLOWS: _peer(_library("nflows")),
    NORMFLOWS: _peer(_library("normflows")),
}

GPU_PRECISIONS = ("float32", "tf32", "bf16x3", "bfloat16")


def _gpu_ours(precisions: Sequence[str]) -> dict[str, Build]:
    return {REFERENCE: _ours("reference")} | {
        f"dds_fast, {backend}, {precision}": _ours(backend, precision, graphed=True)
        for backend in ("triton", "cuda")
        for precision in precisions
    }


GPU_GRAPHED: dict[str, Build] = {
    GRAPHED: _peer(_batched, graphed=True),
    f"{GRAPHED}, tf32": _peer(_batched, "tf32", graphed=True),
    f"{GRAPHED}, bfloat16": _peer(
        lambda workload: batched.decoder(workload.frozen, torch.bfloat16), "bfloat16", graphed=True
    ),
}

COMPILED_CASES = {
    "cpu": ("W1-F512-K1", "W1-F512-K20", "W2-1200"),
    "gpu": ("W1-F512-K20", "W2-F512-R1200"),
}
"""Compiling takes minutes."""

LEVEL_CASES = ("W1-F512-K20",)

GPU_ROWS = ("-K20", "-R1200", "-T300")
"""In every precision on a GPU; with other numbers of rows in two, as Triton compiles for each."""


def of_case(suite: str, name: str) -> Mapping[str, Build]:
    """Who takes part in a case of the suite "cpu" or "gpu"."""
    return _on_gpu(name) if suite == "gpu" else _on_cpu(name)


def _on_cpu(name: str) -> Mapping[str, Build]:
    """At 1000 frames per flow the graph of PyTorch's autograd does not fit beside the others; what
    it needs is measured on its own, see peak_memory.py."""
    if name == "W3-T1000":
        return OURS
    contenders = PEERS | OURS
    if name in COMPILED_CASES["cpu"]:
        contenders |= {COMPILED: _peer(_compiled)}
    if name in LEVEL_CASES:
        contenders |= LEVELS
    return contenders


def _on_gpu(name: str) -> Mapping[str, Build]:
    """Flow libraries call one small kernel after the other, as the plain loop does: where a
    comparison is made with torch.compile, one is made with them."""
    contenders = {name: PEERS[name] for name in (PYTORCH_LOOP, BATCHED_SHARED)} | GPU_GRAPHED
    if name == "W3-T1000":
        contenders = {GRAPHED: GPU_GRAPHED[GRAPHED]}
    if name in COMPILED_CASES["gpu"]:
        contenders |= {name: PEERS[name] for name in (NFLOWS, NORMFLOWS)}
        contenders |= {COMPILED_GRAPHED: _peer(_compiled, graphed=True)}
    every = name.endswith(GPU_ROWS)
    return contenders | _gpu_ours(GPU_PRECISIONS if every else ("float32", "bfloat16"))
