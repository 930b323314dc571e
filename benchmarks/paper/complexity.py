"""Table I of the DDS paper: what NMF and DDS-1, -2, -3 cost, and over what it is measured.

Two components: the *reconstruction* of the spectrogram from dictionary and activations, and the
*dictionary*, decoded from latent codes. Their cost depends on six sizes, the axes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from kernels.cases import Shape, make_flow
from paper.tensor_memory import peak_bytes
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from dds_fast.ops import FrozenFlow
from dds_fast.search.dispatch import Request
from dds_fast.search.engines import ENGINES
from dds_fast.search.reference.objective import reconstruct

AXES = "TFSKNL"
METHODS = ("NMF", "DDS-1", "DDS-2", "DDS-3")
COMPONENTS = ("reconstruction", "dictionary")
QUANTITIES = ("time", "space")
BACKENDS = tuple(reversed(ENGINES))

RECONSTRUCTED: dict[tuple[str, str, str], tuple[str, dict[str, int]]] = {
    ("time", "reconstruction", "NMF"): ("F N T", {"F": 1, "N": 1, "T": 1}),
    ("time", "reconstruction", "DDS-1"): ("F S T", {"F": 1, "S": 1, "T": 1}),
    ("time", "reconstruction", "DDS-2"): ("F S K T", {"F": 1, "S": 1, "K": 1, "T": 1}),
    ("time", "reconstruction", "DDS-3"): ("F S K T", {"F": 1, "S": 1, "K": 1, "T": 1}),
    ("time", "dictionary", "DDS-1"): ("S T L M F²", {"S": 1, "T": 1, "L": 1, "F": 2}),
    ("time", "dictionary", "DDS-2"): ("S K L M F²", {"S": 1, "K": 1, "L": 1, "F": 2}),
    ("time", "dictionary", "DDS-3"): ("S K L M F²", {"S": 1, "K": 1, "L": 1, "F": 2}),
    ("space", "reconstruction", "NMF"): ("N (F + T)", {"N": 1, "F": 1, "T": 1}),
    ("space", "reconstruction", "DDS-1"): ("S T F + S T", {"S": 1, "T": 1, "F": 1}),
    ("space", "reconstruction", "DDS-2"): ("S K (F + T)", {"S": 1, "K": 1, "F": 1, "T": 1}),
    ("space", "reconstruction", "DDS-3"): ("S K (F + T)", {"S": 1, "K": 1, "F": 1, "T": 1}),
    ("space", "dictionary", "DDS-1"): ("S (L M F² + T F)", {"S": 1, "L": 1, "F": 2, "T": 1}),
    ("space", "dictionary", "DDS-2"): ("S (L M F² + K F)", {"S": 1, "L": 1, "F": 2, "K": 1}),
    ("space", "dictionary", "DDS-3"): ("L M F² + S K F", {"L": 1, "F": 2, "S": 1, "K": 1}),
}
"""Law and leading exponents of each cell that Table I has (those not named are 0). The cells are
empty in the text of the paper that we have: these follow from its prose, see docs/method.md."""


def cells() -> list[tuple[str, str]]:
    """Component and method of all that can be run: NMF's dictionary is given."""
    return [(c, m) for c in COMPONENTS for m in METHODS if ("time", c, m) in RECONSTRUCTED]


@dataclass(frozen=True)
class Sizes:
    """One point: frames T, bins F, sources S, components K, training frames N, flow steps L."""

    T: int
    F: int
    S: int
    K: int
    N: int
    L: int

    def shape(self, method: str) -> Shape:
        """The flows: widths grow with F, as from the paper's F = 512 to its F = 1024."""
        kind = method.replace("-", "").lower()
        return Shape(
            kind,
            self.F,
            2 * self.F if kind == "dds3" else self.F // 4,
            None if kind == "dds1" else self.K,
            n_frames=self.T,
            n_sources=self.S,
            n_steps=self.L,
        )

    def rows(self, method: str) -> int:
        """Vectors that one flow decodes at once."""
        return {"DDS-1": self.T, "DDS-2": self.K, "DDS-3": self.S * self.K}[method]

    def weights(self, method: str) -> int:
        """Entries of the flows' weight matrices; points with too many are left out."""
        if method == "NMF":
            return 0
        per_step = 12 * self.F**2 if method == "DDS-3" else self.S * 9 * self.F**2 // 16
        return self.L * per_step


@dataclass(frozen=True)
class Axis:
    """What varies, over which values, and what stays.

    Attributes:
        name: the size that varies, of `AXES`.
        values: the points, by component.
        bases: the other sizes, by component.
        most_weights: points whose flows have more entries are left out.
    """

    name: str
    values: Mapping[str, tuple[int, ...]]
    bases: Mapping[str, Sizes]
    most_weights: int

    def sizes(self, component: str, value: int) -> Sizes:
        return replace(self.bases[component], **{self.name: value})

    def points(self, component: str, method: str) -> list[int]:
        """The values to measure: a single one where nothing in the call depends on the axis."""
        if not any(self.name in RECONSTRUCTED[q, component, method][1] for q in QUANTITIES):
            return [getattr(self.bases[component], self.name)]
        if component == "reconstruction":
            return list(self.values[component])
        return [
            value
            for value in self.values[component]
            if self.sizes(component, value).weights(method) <= self.most_weights
        ]


def _both(thing: Any) -> dict[str, Any]:
    return dict.fromkeys(COMPONENTS, thing)


SMALL = Sizes(T=200, F=256, S=6, K=80, N=3000, L=4)
PAPER_SIZE = Sizes(T=300, F=512, S=60, K=20, N=20_000, L=16)
BASES: dict[str, dict[str, Sizes]] = {
    "T": _both(SMALL),
    "N": _both(replace(SMALL, T=400)),
    "F": {
        "reconstruction": Sizes(T=256, F=256, S=128, K=64, N=4000, L=1),
        "dictionary": Sizes(T=96, F=256, S=1, K=96, N=4000, L=2),
    },
    "S": {
        "reconstruction": Sizes(T=8192, F=128, S=16, K=64, N=2000, L=1),
        "dictionary": Sizes(T=512, F=256, S=16, K=512, N=2000, L=1),
    },
    "K": _both(Sizes(T=256, F=128, S=16, K=64, N=2000, L=1)),
    "L": _both(Sizes(T=64, F=512, S=4, K=64, N=2000, L=4)),
}
"""Chosen so that the leading terms of as many cells as possible can be seen: matrix products that
arithmetic binds on both sides of the caches, and streams that lie beyond them."""

_LONG = {
    "reconstruction": (5000, 10_000, 20_000, 40_000, 60_000, 80_000),
    "dictionary": (5000, 10_000, 20_000, 30_000, 40_000),
}
_WIDE = {
    "reconstruction": (512, 1024, 2048, 3072, 4096),
    "dictionary": (512, 1152, 1536, 2304, 4096, 6144, 8192, 12_288),
}
"""Frames and bins at which the leading terms show."""

_QUICK = {
    "T": {
        "reconstruction": (5, 50, 200, 1000, 5000, 25_000, 40_000, 60_000),
        "dictionary": (5, 50, 200, 1000, 5000, 10_000, 20_000),
    },
    "F": {c: (16, 64, 256, *_WIDE[c]) for c in COMPONENTS},
    "S": _both((1, 4, 16, 32, 64, 100)),
    "K": _both((16, 64, 256, 800, 1600, 2400, 3200)),
    "N": _both((1000, 3000, 10_000, 20_000, 50_000, 100_000)),
    "L": _both((1, 5, 10, 20, 50, 100)),
}
_FULL = {
    "T": {c: (5, 10, 20, 50, 100, 200, 500, 1000, 2000, *_LONG[c]) for c in COMPONENTS},
    "F": {c: (16, 32, 64, 128, 256, *_WIDE[c]) for c in COMPONENTS},
    "S": _both((1, 2, 4, 8, 16, 32, 64, 100, 128)),
    "K": _both((16, 32, 64, 128, 256, 512, 800, 1600, 2400, 3200)),
    "N": _both((1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)),
    "L": _both((1, 2, 5, 10, 20, 50, 100)),
}
_MOST_WEIGHTS = 210_000_000


def _at_paper_size(name: str, values: tuple[int, ...]) -> Axis:
    return Axis(name, _both(values), _both(PAPER_SIZE), 150_000_000)


PRESETS: dict[str, dict[str, Axis]] = {
    "full": {
        **{name: Axis(name, _FULL[name], BASES[name], _MOST_WEIGHTS) for name in AXES},
        "paperT": _at_paper_size("T", (10, 20, 50, 100, 200, 500, 1000)),
        "paperN": _at_paper_size("N", (1000, 3000, 10_000, 30_000, 100_000, 300_000)),
    },
    "quick": {name: Axis(name, _QUICK[name], BASES[name], _MOST_WEIGHTS) for name in AXES},
    "check": {
        name: Axis(
            name, _both((4, 8, 12)), _both(Sizes(T=8, F=16, S=2, K=2, N=32, L=1)), 10_000_000
        )
        for name in AXES
    },
}
"""Quick: every axis by six or more points; full: more of them, and crossing points at the paper's
F, S and K; check: does it work?"""


class Case:
    """A cell of the table at one point, in memory.

    Args:
        component: of `COMPONENTS`.
        method: of `METHODS`.
        sizes: the point.
        device: where its tensors are; on "meta" it can be counted, not run.
        flow: a frozen flow of these sizes, if there is one; else one is made.
    """

    def __init__(
        self,
        component: str,
        method: str,
        sizes: Sizes,
        device: str = "cpu",
        flow: FrozenFlow | None = None,
    ) -> None:
        self.component, self.method, self.sizes = component, method, sizes
        self.flow: FrozenFlow | None = None
        T, F, S = sizes.T, sizes.F, sizes.S
        if component == "dictionary":
            frozen = make_flow(sizes.shape(method)).freeze() if flow is None else flow
            self.flow = frozen.to(torch.float32, device)
            rows = (frozen.n_groups, sizes.rows(method), F)
            # Small codes: a hundred untrained steps must not overflow.
            self.inputs: tuple[Tensor, ...] = (0.1 * torch.randn(rows, device=device),)
        else:
            J = {"NMF": sizes.N, "DDS-1": S}.get(method, S * sizes.K)
            entries = (S, T, F) if method == "DDS-1" else (J, F)
            self.inputs = torch.rand(entries, device=device), torch.rand(J, T, device=device)
        self.unpacked = self.held()

    def call(self, backend: str, n_rows: int | None = None) -> Callable[[], Any]:
        """What is measured; with `n_rows`, a flow decodes only so many.

        Raises:
            RuntimeError: the backend cannot run it, with its reason.
        """
        engine = ENGINES[backend]
        engine.can_run(Request.of(self.inputs[0], flow=self.flow), raise_error=True)
        if self.flow is not None:
            flow, z = self.flow, self.inputs[0][:, :n_rows]
            return lambda: engine.flow.forward(flow, z, "decode", False)
        D, H = self.inputs
        # The search of NMF multiplies by PyTorch.
        if backend != "cpu" or self.method == "NMF":
            return lambda: reconstruct(D, H)
        return lambda: compiled_reconstruct(D, H)

    def multiply_adds(self) -> int:
        """Of the matrix products of the reference, counted as it runs."""
        with FlopCounterMode(display=False) as counter:
            self.call("reference")()
        return counter.get_total_flops() // 2

    def bytes(self) -> int:
        """Of what Table I counts: dictionary and activations, or weights, codes and entries."""
        if self.flow is None:
            return sum(t.nbytes for t in self.inputs)
        matrices = [w for step in self.flow.steps for w in step.coupling.weights]
        matrices += [step.mixing for step in self.flow.steps if step.mixing is not None]
        return sum(t.nbytes for t in (*matrices, *self.inputs, *self.inputs))

    def workspace(self, backend: str, device: str) -> int:
        """Bytes that a flow's decode needs beside its result: of the compiled one what it asks for,
        of others from calls with one row and with two."""
        assert self.flow is not None
        (z,) = self.inputs
        if backend == "cpu":
            from dds_fast.search.cpu.weights import packed_flow

            packed = packed_flow(self.flow, "decode", "float32")
            return packed.native.scratch_bytes(*z.shape[:2], torch.get_num_threads())
        one, two = (peak_bytes(self.call(backend, n_rows), device) for n_rows in (1, 2))
        return one + (two - one) * (z.shape[1] - 1) - z.nbytes

    def held(self) -> int:
        """Bytes of all tensors alive between calls, what backends have packed included."""
        return sum({t.data_ptr(): t.nbytes for t in _tensors([self.flow, self.inputs])}.values())


def compiled_reconstruct(D: Tensor, H: Tensor) -> Tensor:
    """``(T, F)`` sums of entries weighted by activations, as a search on a CPU makes them."""
    from dds_fast import _native

    native, n_threads = _native.cpu(), torch.get_num_threads()
    (J, T), F = H.shape, D.shape[-1]
    target, result = torch.zeros(2, T, F)
    pointers = D.data_ptr(), H.data_ptr(), target.data_ptr(), result.data_ptr()
    if D.ndim == 3:
        native.frame_residual(*pointers[:3], J, T, F, pointers[3], n_threads)
        return result
    native.matrix_product(
        "float32", T, J, F, H.data_ptr(), T, True, D.data_ptr(), F, False, *pointers[2:],
        n_threads,
    )  # fmt: skip
    return result


def _tensors(thing: Any) -> Iterable[Tensor]:
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, dict):
        yield from _tensors(list(thing.values()))
    elif isinstance(thing, list | tuple):
        for part in thing:
            yield from _tensors(part)
    elif type(thing).__module__.startswith("dds_fast"):
        yield from _tensors(getattr(thing, "__dict__", {}))


def counted(
    quantity: str, component: str, method: str, sizes: Sizes, flow: FrozenFlow | None = None
) -> int:
    """Multiply-adds ("time") or bytes ("space"), without computing anything."""
    case = Case(component, method, sizes, "meta", flow)
    return case.multiply_adds() if quantity == "time" else case.bytes()


@cache
def degree(quantity: str, component: str, method: str, axis: str) -> int:
    """The exact exponent: of the highest power of the axis in the counted polynomial.

    From finite differences at equally spaced points.
    """
    differences = _along(component, method, axis)[QUANTITIES.index(quantity)]
    order = 0
    while len(set(differences)) > 1:
        differences = [b - a for a, b in itertools.pairwise(differences)]
        order += 1
    return order


@cache
def _along(component: str, method: str, axis: str) -> tuple[list[int], list[int]]:
    """Multiply-adds and bytes at five equally spaced points of an axis."""
    base = Sizes(T=4, F=24, S=2, K=2, N=16, L=1)
    step = 8 if axis == "F" else 2
    cases = [
        Case(component, method, replace(base, **{axis: step * i}), "meta") for i in range(1, 6)
    ]
    return [case.multiply_adds() for case in cases], [case.bytes() for case in cases]
