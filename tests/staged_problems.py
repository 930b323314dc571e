"""Small problems for the staged search, and searches of them."""

from __future__ import annotations

from dataclasses import replace

import torch
from problems import F, S, T, make_flow, start
from torch import Tensor

from dds_fast.search import Schedule, Search, SearchSettings, StagedProblem
from dds_fast.search.problem import latent_rows

M, K = 5, 2
FIXED, ADAPTED = 3, 23
STEPS = FIXED + ADAPTED
SETTINGS = SearchSettings(
    max_steps=STEPS,
    step_size=0.02,
    penalty=0.05,
    n_components=K,
    sparsity=0.05,
    algorithm="staged",
    updates_per_step=3,
    fixed_updates=25,
    fixed_sparsity=0.01,
    smoothing=3,
    floor=0.1,
)
SCHEDULE = Schedule(SETTINGS.step_size, STEPS)
KINDS = ("nmf", "dds2", "dds3")


def make(
    kind: str, likelihood: str = "latent", settings: SearchSettings = SETTINGS
) -> StagedProblem:
    generator = torch.Generator().manual_seed(1)
    X = torch.rand(F, T, generator=generator).double()
    labels = torch.arange(S).repeat_interleave(M)
    if kind == "nmf":
        W = torch.rand(F, S * M, generator=generator).double()
        return StagedProblem(X, settings, S, labels, W=W)
    D = F - (S if kind == "dds3" else 0)
    codes = 0.3 * torch.randn(S, M, D, generator=generator).double()
    Z, n_fixed = latent_rows(codes, kind)
    flow = make_flow(kind).freeze()
    return StagedProblem(
        X, settings, S, labels, flow=flow, Z=Z, n_fixed=n_fixed, likelihood=likelihood
    )


def in_float32(problem: StagedProblem) -> StagedProblem:
    def single(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.float()

    flow = None if problem.flow is None else problem.flow.to(torch.float32)
    tensors = {name: single(getattr(problem, name)) for name in ("X", "W", "Z")}
    return replace(problem, flow=flow, **tensors)


def by_source(H: Tensor, W: Tensor, labels: Tensor) -> Tensor:
    activity = H * W.norm(dim=0)[:, None]
    return torch.stack([activity[labels == s].sum(0) for s in range(S)])


def finished(problem: StagedProblem, **options: str) -> Search:
    search = start(
        problem, Schedule(problem.settings.step_size, problem.settings.max_steps), **options
    )
    while search.running:
        search.advance(7)
    return search


def lopsided(kind: str) -> StagedProblem:
    """A recording that sources 0 and 2 explain, softly spoken in the others."""
    problem = make(kind)
    search = finished(problem)
    state = search.state()
    H = state.H.clone()
    H[state.labels == 1] *= 1e-4
    return replace(problem, X=state.W @ H)
