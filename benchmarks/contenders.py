"""Who is measured: dds_fast at its precisions, and the same work in PyTorch and flow libraries."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from cases import Workload
from peers import Decode, batched, loop
from peers.search import starter

from dds_fast import _native
from dds_fast.ops import Problem, Schedule, UpdateStep, flow_decode, update_step


@dataclass(frozen=True)
class Contender:
    """One way to compute.

    Attributes:
        decode: ``(G, R, F)`` latent codes to rows and log-determinants, differentiable.
        start: begins a search on a problem.
        problem: the problem that `start` takes.
        precision: decides the tolerance, see accuracy.py, and the bytes per weight.
        during: entered around everything that the contender computes.
    """

    decode: Decode
    start: Callable[[Problem, Schedule], UpdateStep]
    problem: Problem
    precision: str = "float32"
    during: Callable[[], AbstractContextManager[Any]] = nullcontext

    @property
    def bytes_per_weight(self) -> int:
        return 2 if self.precision == "bfloat16" else 4


Build = Callable[[Workload], Contender]


def _peer(make: Callable[[Workload], Decode], share_decode: bool = True) -> Build:
    def build(workload: Workload) -> Contender:
        decode = make(workload)
        return Contender(decode, starter(decode, share_decode), workload.problem(workload.frozen))

    return build


def _library(name: str) -> Callable[[Workload], Decode]:
    """A flow library, imported when it is its turn: it may not be installed."""
    return lambda workload: importlib.import_module(f"peers.{name}").decoder(workload.flow)


def _ours(backend: str, precision: str | None = None) -> Build:
    def build(workload: Workload) -> Contender:
        options: dict[str, Any] = {"backend": backend}
        if precision is not None:
            options["precision"] = precision
        return Contender(
            partial(flow_decode, workload.frozen, **options),
            partial(update_step, **options),
            workload.problem(workload.frozen),
            precision or "float32",
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


def _at_level(name: str) -> Build:
    def build(workload: Workload) -> Contender:
        if name not in _native.cpu().levels():
            raise RuntimeError(f"this processor has no {name}")
        frozen = workload.flow.freeze()  # what is packed for one level need not suit another
        return Contender(
            partial(flow_decode, frozen, backend="cpu"),
            partial(update_step, backend="cpu"),
            workload.problem(frozen),
            during=partial(_level, name),
        )

    return build


PYTORCH_LOOP = "PyTorch, loop over flows"
BATCHED = "PyTorch, batched"
BATCHED_SHARED = "PyTorch, batched, one decode"
COMPILED = "PyTorch, batched, one decode, torch.compile"
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
    f"dds_fast, cpu, float32, {level}": _at_level(level) for level in ("avx2", "avx512")
}
PEERS: dict[str, Build] = {
    PYTORCH_LOOP: _peer(lambda workload: loop.decoder(workload.flow), share_decode=False),
    BATCHED: _peer(lambda workload: batched.decoder(workload.frozen), share_decode=False),
    BATCHED_SHARED: _peer(lambda workload: batched.decoder(workload.frozen)),
    NFLOWS: _peer(_library("nflows")),
    NORMFLOWS: _peer(_library("normflows")),
}

COMPILED_CASES = ("W1-F512-K1", "W1-F512-K20", "W2-1200")
"""Compiling takes minutes."""

LEVEL_CASES = ("W1-F512-K20",)


def of_case(name: str) -> Mapping[str, Build]:
    """Who takes part in a case.

    At 1000 frames per flow the graph of PyTorch's autograd does not fit beside the others; what it
    needs is measured on its own, see peak_memory.py.
    """
    if name == "W3-T1000":
        return OURS
    contenders = PEERS | OURS
    if name in COMPILED_CASES:
        contenders |= {COMPILED: _peer(lambda workload: batched.compiled(workload.frozen))}
    if name in LEVEL_CASES:
        contenders |= LEVELS
    return contenders
