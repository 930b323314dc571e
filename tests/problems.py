"""Small search problems for the tests of the update step."""

from __future__ import annotations

from dataclasses import replace

import torch

from dds_fast.flows import ConditionalGlow, RealNVPBank
from dds_fast.search import Problem, Schedule, Search, engines
from dds_fast.search.problem import dds_problem

S, F, T, K = 3, 11, 7, 2
PENALTY, SPARSITY = 0.05, 0.1


def make_flow(kind: str) -> RealNVPBank | ConditionalGlow:
    if kind != "dds3":
        return RealNVPBank(S, F, n_steps=2, width=6, depth=1).double()
    flow = ConditionalGlow(S, F, n_steps=2, width=6, depth=1).double()
    flow.initialize(torch.rand(99, F, generator=torch.Generator().manual_seed(2)).double())
    return flow


def make_problem(kind: str, flow: RealNVPBank | ConditionalGlow, likelihood: str) -> Problem:
    generator = torch.Generator().manual_seed(1)
    X = torch.rand(F, T, generator=generator).double()
    problem = dds_problem(
        X,
        flow.freeze(),
        kind,
        n_sources=S,
        n_components=None if kind == "dds1" else K,
        penalty=PENALTY,
        sparsity=SPARSITY,
        likelihood=likelihood,
    )
    # Away from Z = 0: so short a flow passes some zeros through, where ReLU has no derivative and
    # rounding decides which way the programs go.
    Z = problem.Z.clone()
    Z[..., problem.n_fixed :].normal_(std=0.3, generator=generator)
    return replace(problem, Z=Z)


def start(problem: Problem, schedule: Schedule, **options: str) -> Search:
    """The search of one recording."""
    return engines.start([problem], [schedule], **options)
