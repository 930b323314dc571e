"""What is measured: shapes of flows and problems, made from a seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from kernels.peers import Flow

from dds_fast.flows import ConditionalGlow, RealNVPBank
from dds_fast.ops import FrozenFlow
from dds_fast.search import PAPER, Problem, Schedule, Search, engines
from dds_fast.search.problem import dds_problem

CPU_QUANTITIES = ("forward", "backward", "step")
GPU_QUANTITIES = ("forward", "gradient", "step")
"""A CUDA graph holds a decode and its backward, not the backward alone."""


@dataclass(frozen=True)
class Shape:
    """Sizes of one case.

    Attributes:
        kind: "dds1" and "dds2" (a bank of S flows) or "dds3" (one Glow).
        n_components: K, entries per source; None for dds1, which has one per frame.
        quantities: what is timed; see quantities.py.
    """

    kind: str
    n_features: int
    width: int
    n_components: int | None
    n_frames: int = 300
    n_sources: int = 60
    n_steps: int = 16
    quantities: tuple[str, ...] = CPU_QUANTITIES

    def tiny(self) -> Shape:
        """The same case at sizes that only show that the harness works."""
        return replace(
            self,
            n_features=32,
            width=16,
            n_components=None if self.n_components is None else 2,
            n_frames=12,
            n_sources=3,
            n_steps=2,
        )

    @property
    def n_groups(self) -> int:
        return 1 if self.kind == "dds3" else self.n_sources

    @property
    def rows(self) -> int:
        """Rows per flow."""
        if self.n_components is None:
            return self.n_frames
        return self.n_components * self.n_sources // self.n_groups


CPU_CASES = {
    **{
        f"W1-F{F}-K{K}": Shape("dds2", F, width, K)
        for F, width in ((512, 128), (1024, 256))
        for K in (1, 5, 20)
    },
    **{f"W2-{60 * K}": Shape("dds3", 512, 1024, K, n_steps=32) for K in (1, 5, 20, 40)},
    **{
        f"W3-T{T}": Shape("dds1", 512, 128, None, n_frames=T, quantities=("step",))
        for T in (300, 1000)
    },
}

GPU_CASES = {
    **{
        f"W1-F{F}-K{K}": Shape("dds2", F, F // 4, K, quantities=GPU_QUANTITIES)
        for F in (512, 1024)
        for K in (20, 1, 5, 64)
    },
    **{
        f"W2-F{F}-R{60 * K}": Shape("dds3", F, 2 * F, K, n_steps=32, quantities=GPU_QUANTITIES)
        for F in (512, 1024)
        for K in (20, 1, 5, 40)
    },
    **{f"W3-T{T}": CPU_CASES[f"W3-T{T}"] for T in (300, 1000)},
}

CASES = {"cpu": CPU_CASES, "gpu": GPU_CASES}

NMF_CASES = ("W4-N6000", "W4-N30000")

TRAININGS = ("W6-dds2-64", "W6-dds2-512", "W6-dds3-512")
"""Kind of flow and rows per step (of a bank: per note)."""


DECOMPOSITIONS = {
    "W5-dds2": Shape("dds2", 512, 128, 20),
    "W5-dds3": Shape("dds3", 512, 1024, 20, n_steps=32),
    "W5-packaged": None,
}
"""Whole gradient searches: the paper's dictionaries with its settings, the packaged by `FORMER`."""

FORMER = replace(PAPER["dds3"], penalty=1e-3, sparsity=0.15)
"""How the packaged piano was searched before there was a staged search."""

SOUNDS = {"W7-10s": 10.0, "W7-30s": 30.0, "W7-300s": 300.0}
"""Sound to notes: seconds."""


def make_flow(shape: Shape, device: torch.device | str = "cpu") -> Flow:
    """An untrained flow: times do not depend on what the weights have learned."""
    made: Flow
    with torch.device(device):  # its weights are drawn there, which is faster than to move them
        if shape.kind == "dds3":
            made = ConditionalGlow(
                shape.n_sources, shape.n_features, shape.n_steps, shape.width, depth=3
            )
        else:
            made = RealNVPBank(
                shape.n_sources, shape.n_features, shape.n_steps, shape.width, depth=4
            )
    return made.requires_grad_(False)


def n_weights(flow: FrozenFlow) -> tuple[int, int]:
    """Entries of the matrices that a pass reads: of the couplings, and of a Glow's mixing."""
    couplings = sum(w.numel() for step in flow.steps for w in step.coupling.weights)
    return couplings, sum(s.mixing.numel() for s in flow.steps if s.mixing is not None)


def start(problem: Problem, schedule: Schedule, **options: str) -> Search:
    """Begin the search of one recording on an engine of the library."""
    return engines.start([problem], [schedule], **options)


class Workload:
    """A case in memory: weights, a problem, and inputs of one pass."""

    endless = Schedule(
        step_size=1e-6, max_steps=10**5, patience=10**5, max_increases=10**5, tolerance=0.0
    )
    """A search that goes on while it is timed, and whose entries do not die."""

    def __init__(self, name: str, shape: Shape, device: torch.device | str = "cpu") -> None:
        self.name, self.shape = name, shape
        self.device = torch.device(device)
        self.flow = make_flow(shape, self.device)
        generator = torch.Generator().manual_seed(0)
        rows = (shape.n_groups, shape.rows)
        self.z = torch.randn(*rows, shape.n_features, generator=generator).to(self.device)
        self.cotangents = (
            torch.randn(*rows, shape.n_features, generator=generator).to(self.device),
            torch.randn(*rows, generator=generator).to(self.device),
        )
        # Mostly small values and a few large ones, as in a compressed spectrogram.
        X = torch.rand(shape.n_features, shape.n_frames, generator=generator) ** 4
        self.X = X.to(self.device)

    @cached_property
    def frozen(self) -> FrozenFlow:
        """The flow as the library's ops take it; what backends pack stays with it."""
        return self.flow.freeze()

    def problem(self, flow: FrozenFlow) -> Problem:
        """The search problem on `flow`, in its dtype, with the paper's penalty."""
        return dds_problem(
            self.X.to(flow.dtype),
            flow,
            self.shape.kind,
            n_sources=self.shape.n_sources,
            n_components=self.shape.n_components,
            penalty=PAPER[self.shape.kind].penalty,
        )

    @property
    def n_weights(self) -> int:
        """Entries of the matrices that a pass reads: couplings, and the Glow's mixing."""
        return sum(n_weights(self.frozen))

    def multiply_adds(self, quantity: str) -> int:
        """The multiply-adds that the quantity needs, whoever computes it.

        An update step needs one decode, one backward and the four products with W or H; whatever
        a contender computes beyond that does not raise its rate.
        """
        shape = self.shape
        one_pass = self.n_weights * shape.rows
        if quantity != "step":
            return one_pass * self.passes(quantity)
        n_entries = shape.n_sources * (shape.n_components or 1)
        return 2 * one_pass + 4 * n_entries * shape.n_frames * shape.n_features

    def passes(self, quantity: str) -> int:
        """How often the quantity must read the weights."""
        return 2 if quantity in ("gradient", "step") else 1
