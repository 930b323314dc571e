"""One step of NMF with a fixed dictionary on a GPU, beside plain PyTorch.

    dds-fast bench gpu --only W4 --out DIR

F = 1024, T = 300, N = 6000 and 30 000 entries: projected Adam on the residual's norm, and
multiplicative updates of the Euclidean and the Kullback-Leibler loss. Contenders are compared with
float64 after a few steps. The data are those of test_nmf.py, which measures the time to a residual.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial

import pytest
import torch
from kernels import nmf_data, race
from kernels.accuracy import Disagreement, error_ratio
from kernels.cases import NMF_CASES, start
from kernels.contenders import tf32
from torch import Tensor

from dds_fast.flows.cuda_graph import WARM_UP, Graphed
from dds_fast.nmf.multiplicative import choose
from dds_fast.search import Schedule
from dds_fast.search.problem import nmf_problem

QUANTITIES = ("adam", "euclidean", "kl")
CHECKED_STEPS = WARM_UP + 2
ENDLESS = Schedule(
    step_size=1e-3, max_steps=10**5, patience=10**5, max_increases=10**5, tolerance=0.0
)
TOLERANCES = {"float32": 1e-4, "bf16x3": 1e-3, "tf32": 1e-2, "bfloat16": 5e-2}
"""Of W H after a few steps, its RMS error over the RMS of the float64 value."""
EPSILON = 1e-7


@dataclass(frozen=True)
class Case:
    X: Tensor
    W: Tensor

    def to(self, dtype: torch.dtype) -> Case:
        return Case(self.X.to(dtype), self.W.to(dtype))

    def start(self) -> Tensor:
        N = self.W.shape[1]
        return self.X.new_full((N, self.X.shape[1]), 1 / N)


Steps = tuple[race.Calls, Callable[[], Tensor]]
"""A method in progress: what takes steps, and what gives the activations."""


def pytorch(case: Case, quantity: str, graphed: bool = False) -> Steps:
    """The gradient by hand, the fused Adam and a projection; or a multiplicative update."""
    X, W, H = case.X, case.W, case.start()
    if graphed and X.device.type != "cuda":
        raise RuntimeError(f"a CUDA graph needs a GPU, not {X.device}")
    if quantity == "adam":
        H.requires_grad_()
        on_gpu = X.device.type == "cuda"
        adam = torch.optim.Adam([H], lr=ENDLESS.step_size, fused=True, capturable=on_gpu)
    sums, numerator = W.sum(0)[:, None] + EPSILON, W.T @ X

    @torch.no_grad()
    def step() -> None:
        if quantity == "adam":
            residual = W @ H - X
            H.grad = W.T @ residual / torch.linalg.vector_norm(residual)
            adam.step()
            H.clamp_min_(0)
        elif quantity == "kl":
            H.mul_((W.T @ (X / (W @ H + EPSILON))) / sums)
        else:
            H.mul_(numerator / (W.T @ (W @ H) + EPSILON))

    return race.again(Graphed(step, X.device) if graphed else step), H.detach


def ours(case: Case, quantity: str, backend: str, precision: str = "float32") -> Steps:
    if quantity == "adam":
        problem = nmf_problem(case.X, case.W)
        search = start(problem, ENDLESS, backend=backend, precision=precision)
        return search.advance, lambda: search.state().H
    update = choose(case.X, quantity, backend)(case.X, case.W, n_updates=1000)
    H = case.start()
    return race.again(lambda: H.copy_(update(H))), H.detach


Build = Callable[[Case, str], Steps]


def contenders(quantity: str) -> dict[str, tuple[Build, str]]:
    """Each with its precision; multiplicative updates are in float32."""
    precisions = ["float32"]
    if quantity == "adam":
        precisions += ["tf32", "bf16x3", "bfloat16"]
    graphed: Build = partial(pytorch, graphed=True)
    peers: dict[str, tuple[Build, str]] = {
        "PyTorch": (pytorch, "float32"),
        "PyTorch, CUDA graph": (graphed, "float32"),
        "PyTorch, CUDA graph, tf32": (graphed, "tf32"),
        "dds_fast, reference": (partial(ours, backend="reference"), "float32"),
    }
    return peers | {
        f"dds_fast, {backend}, {p}": (partial(ours, backend=backend, precision=p), p)
        for backend in ("triton", "cuda")
        for p in precisions
    }


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    races = [((case, q), contenders(q)) for case in NMF_CASES for q in QUANTITIES]
    race.parametrize(metafunc, races)


@lru_cache(maxsize=1)
def case_of(name: str, quick: bool, device: torch.device) -> Case:
    if quick:
        generator = torch.Generator().manual_seed(0)
        X, W = (torch.rand(16, n, generator=generator) for n in (5, 12))
    else:
        X, W = nmf_data.data(int(name.removeprefix("W4-N")))
    return Case(X.to(device), W.to(device))


def racer(case: Case, quantity: str, build: Build, precision: str) -> race.Racer:
    """Checked, and then begun anew."""
    exact = case.to(torch.float64)
    advance_exact, expected = pytorch(exact, quantity)
    advance_exact(CHECKED_STEPS)
    during = tf32 if precision == "tf32" else nullcontext
    with during():
        advance, activations = build(case, quantity)
        advance(CHECKED_STEPS)
    error = error_ratio(case.W.double() @ activations().double(), exact.W @ expected())
    if not error < TOLERANCES[precision]:
        raise Disagreement(f"W H is off by {error:.1e}, allowed are {TOLERANCES[precision]:.0e}")

    def prepare() -> Iterator[race.Calls]:
        while True:
            yield advance

    F, N = case.W.shape
    bytes_per_weight = 2 if precision == "bfloat16" else 4
    info = {
        "precision": precision,
        "weight_bytes": bytes_per_weight * F * N,
        "passes": 2,
        "multiply_adds": 2 * F * N * case.X.shape[1],
        "errors": {"W H": error},
    }
    return race.Racer(prepare, info, during)


@lru_cache(maxsize=1)
def raced(config: pytest.Config, name: str, quantity: str) -> race.Race:
    case = case_of(name, config.option.quick, torch.device(config.option.device))
    racers = {
        contender: partial(racer, case, quantity, build, precision)
        for contender, (build, precision) in contenders(quantity).items()
    }
    return race.Race.of(racers, config)


def test_step(turn: race.Turn, pytestconfig: pytest.Config, take: Callable[..., None]) -> None:
    take(raced(pytestconfig, *turn.race), turn)
