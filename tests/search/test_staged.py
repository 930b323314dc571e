"""The staged search against a plain autograd program in float64, and the compiled against both."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from problems import F, S, T, make_flow, start
from staged_problems import (
    ADAPTED,
    FIXED,
    KINDS,
    SCHEDULE,
    SETTINGS,
    STEPS,
    K,
    M,
    by_source,
    finished,
    in_float32,
    lopsided,
    make,
)
from torch import Tensor

from dds_fast.search import (
    Schedule,
    SearchSettings,
    StagedProblem,
    engines,
    staged,
)
from dds_fast.search.cpu.weights import PackedFlow
from dds_fast.search.staged import Stages


def weights(H: Tensor, W: Tensor, labels: Tensor, settings: SearchSettings) -> Tensor:
    """``(J, T)`` weights of the reweighted l1 norm, with loops."""
    activity, half = by_source(H, W, labels), settings.smoothing // 2
    mean = torch.stack(
        [
            activity[:, [min(max(t + i, 0), T - 1) for i in range(-half, half + 1)]].mean(1)
            for t in range(T)
        ],
        dim=1,
    )
    u = 1 / (mean / (mean.max(0).values + 1e-9) + settings.floor)
    return settings.sparsity * (u / u.mean())[labels]


def updated(
    H: Tensor, W: Tensor, X: Tensor, weights: Tensor | float, n: int, power: float
) -> Tensor:
    for _ in range(n):
        H = H * ((W.T @ X) / (W.T @ W @ H + weights * W.norm(dim=0)[:, None] + 1e-9)) ** power
    return H


def plain_program(problem: StagedProblem, kind: str) -> tuple[list[float], Tensor, Tensor]:
    """The staged search by autograd and ``torch.optim.Adam``: costs, W and H."""
    X, labels, settings = problem.X, problem.labels, problem.settings
    flow = None if kind == "nmf" else make_flow(kind)

    def decode(Z: Tensor) -> tuple[Tensor, Tensor]:
        """W and the log-likelihoods of ``(J, D)`` codes."""
        if kind == "dds3":
            z_s = torch.eye(S, dtype=Z.dtype)[labels]
            x, log_det = flow.decode(torch.cat([z_s, Z], 1))
        else:
            x, log_det = flow.decode(Z.view(S, -1, F))
        D = Z.shape[1]
        likelihood = -0.5 * (Z.square().sum(-1) + D * math.log(2 * math.pi))
        if problem.likelihood == "data":
            likelihood = likelihood - log_det.reshape(-1)
        return torch.relu(x.reshape(-1, F)).T, likelihood / D

    def cost(W: Tensor, H: Tensor, likelihood: Tensor) -> Tensor:
        shares = H / (H.sum(0) + 1e-3)
        return torch.linalg.norm(X - W @ H) - settings.penalty * shares.sum(1) @ likelihood

    if kind == "nmf":
        W, likelihood = problem.W, X.new_zeros(S * M)
    else:
        Z = problem.Z.flatten(0, 1)[:, problem.n_fixed :]
        W, likelihood = (t.detach() for t in decode(Z))
    H = torch.full((S * M, T), float(X.mean() / (W.mean() * S * M)), dtype=torch.float64)
    costs = [float(cost(W, H, likelihood))]
    for n in (10, 10, 5):
        H = updated(H, W, X, settings.fixed_sparsity, n, 1.5)
        costs.append(float(cost(W, H, likelihood)))
    if kind == "nmf" or not settings.adapt:
        for _ in range(ADAPTED):
            H = updated(H, W, X, weights(H, W, labels, settings), 10, 1.5)
            costs.append(float(cost(W, H, likelihood)))
        return costs, W, H

    activity = by_source(H, W, labels)
    use = (H * W.norm(dim=0)[:, None]).sum(1)
    kept = torch.cat(
        [
            i[use[i].argsort(descending=True)[:K]].sort().values
            for i in ((labels == s).nonzero()[:, 0] for s in range(S))
        ]
    )
    labels = labels[kept]
    share = activity / (by_source(H[kept], W[:, kept], labels) + 1e-9)
    H = (H[kept] * share[labels]).clamp_min(1e-6)
    Z = Z[kept].clone().requires_grad_()
    adam = torch.optim.Adam([Z], lr=settings.step_size)
    for step in range(ADAPTED):
        adam.param_groups[0]["lr"] = settings.step_size * (1 - 0.9 * step / ADAPTED)
        adam.zero_grad()
        W, likelihood = decode(Z)
        cost(W, H, likelihood).backward()
        adam.step()
        W, likelihood = (t.detach() for t in decode(Z))
        if step % 10 == 0:
            weight = weights(H, W, labels, settings)
        H = updated(H, W, X, weight, settings.updates_per_step, 1.0)
        costs.append(float(cost(W, H, likelihood)))
    return costs, W, H


@pytest.fixture
def nothing_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staged, "DEAD", -1.0)
    monkeypatch.setattr(staged, "SILENT", 0.0)


@pytest.mark.parametrize("adapt", [False, True])
@pytest.mark.parametrize("likelihood", ["latent", "data"])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_those_of_a_plain_program(
    kind: str, likelihood: str, adapt: bool, nothing_dies: None
) -> None:
    problem = make(kind, likelihood, replace(SETTINGS, adapt=adapt))
    costs, W, H = plain_program(problem, kind)
    search = finished(problem)
    assert search.controller.history == pytest.approx(costs, rel=1e-9)
    assert search.controller.stop_reason == "max_steps"
    state = search.state()
    torch.testing.assert_close(state.W, W, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(state.H, H, rtol=1e-7, atol=1e-9)


# Largest relative difference of costs, and of W and H by root mean square, to float64. Measured:
# 1.1e-7 and 1.9e-6, 2.7e-6 and 5.5e-6, 1.9e-3 and 4.4e-3.
TOLERANCES = {"float32": (5e-7, 1e-5), "bf16x3": (1e-5, 3e-5), "bfloat16": (8e-3, 2e-2)}


@pytest.mark.parametrize("adapt", [False, True])
@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize("likelihood", ["latent", "data"])
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_steps_are_those_of_the_reference(
    level: str, kind: str, likelihood: str, precision: str, adapt: bool
) -> None:
    problem = make(kind, likelihood, replace(SETTINGS, adapt=adapt))
    exact = finished(problem)
    search = finished(in_float32(problem), precision=precision, backend="cpu")
    of_cost, of_factors = TOLERANCES[precision]
    assert search.controller.history == pytest.approx(exact.controller.history, rel=of_cost)
    state, expected = search.state(), exact.state()
    assert torch.equal(state.labels, expected.labels)
    for name in ("W", "H"):
        value, truth = getattr(state, name).double(), getattr(expected, name)
        assert float((value - truth).norm() / truth.norm()) < of_factors


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("kind", KINDS)
def test_dead_entries_leave(kind: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left out was too faint to change what is found."""
    settings = replace(SETTINGS, sparsity=1.0, fixed_sparsity=0.1)
    problem = replace(lopsided(kind), settings=settings)
    if backend == "cpu":
        problem = in_float32(problem)
    monkeypatch.setattr(staged, "SILENT", 0.0)
    fewer = finished(problem, backend=backend)
    monkeypatch.setattr(staged, "DEAD", -1.0)
    whole = finished(problem, backend=backend)
    state, expected = fewer.state(), whole.state()
    assert len(state.labels) < len(expected.labels)
    assert fewer.controller.history[-1] == pytest.approx(whole.controller.history[-1], rel=3e-2)
    activities = [by_source(s.H, s.W, s.labels) for s in (state, expected)]
    assert float((activities[0] - activities[1]).abs().max()) < 5e-2 * float(activities[1].max())


@pytest.mark.parametrize("kind", ["dds2", "dds3"])
def test_dead_entries_leave_alike_on_both_engines(level: str, kind: str) -> None:
    settings = replace(SETTINGS, sparsity=1.0, fixed_sparsity=0.1)
    problem = replace(lopsided(kind), settings=settings)
    exact, search = finished(problem), finished(in_float32(problem), backend="cpu")
    assert len(exact.state().labels) < S * K
    assert torch.equal(search.state().labels, exact.state().labels)
    assert search.controller.history == pytest.approx(exact.controller.history, rel=1e-5)
    torch.testing.assert_close(search.state().H.double(), exact.state().H, rtol=0, atol=1e-3)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("kind", ["dds2", "dds3"])
def test_faint_sources_are_not_adapted(
    kind: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = in_float32(lopsided(kind)) if backend == "cpu" else lopsided(kind)
    search = start(problem, SCHEDULE, backend=backend)
    search.advance(search.n_fixed)
    state = search.state()
    by_frame = by_source(state.H, state.W, state.labels)
    peaks = staged.smoothed(by_frame, problem.settings.smoothing).amax(1)
    monkeypatch.setattr(staged, "SILENT", float(peaks.sort().values[-2:].mean() / peaks.max()))
    search.advance(1)
    assert set(search.state().labels.tolist()) == {int(peaks.argmax())}


@pytest.mark.parametrize(("level", "goes_on"), [(0.045, False), (0.055, True)])
def test_a_source_is_faint_below_a_twentieth(level: float, goes_on: bool) -> None:
    """Of the strongest one's activity, which counts the norms of the entries."""
    D = torch.eye(4, dtype=torch.float64) * torch.tensor([[2.0], [1.0], [1.0], [1.0]])
    H = torch.ones(4, 30, dtype=torch.float64) * torch.tensor([[0.5], [level], [0.0], [0.5]])
    settings = replace(SETTINGS, n_components=1, smoothing=5)
    kept, _ = staged.chosen(D, H, torch.tensor([0, 1, 1, 2]), 3, settings)
    assert kept.tolist() == ([0, 1, 3] if goes_on else [0, 3])


@pytest.mark.parametrize("kind", KINDS)
def test_steps_may_be_asked_for_in_any_portions(kind: str) -> None:
    problem = in_float32(make(kind))
    whole, parts = (start(problem, SCHEDULE, backend="cpu") for _ in range(2))
    whole.advance(100)
    stages = [parts.controller.stage]
    while parts.running:
        parts.advance(1)
        stages.append(parts.controller.stage)
    assert parts.controller.history == whole.controller.history
    assert torch.equal(parts.state().H, whole.state().H)
    last = "reweighted" if kind == "nmf" else "adapted"
    n = len(whole.controller.history) - 1
    assert stages == ["fixed"] * 4 + [last] * (n - 3)
    assert parts.most_steps == n


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("kind", ["dds2", "dds3"])
def test_a_lost_stage_begins_again_with_smaller_steps(kind: str, backend: str) -> None:
    """As if it had been asked to take the steps that are not lost."""
    problem = in_float32(make(kind)) if backend == "cpu" else make(kind)
    large = replace(problem, settings=replace(SETTINGS, step_size=30.0))
    search = finished(large, backend=backend)
    assert isinstance(search, Stages) and 0 < search.n_restarts < staged.MOST_RESTARTS
    costs = search.controller.history
    assert len(costs) == STEPS + 1 and costs[-1] < costs[FIXED]
    step_size = 30.0 * staged.SMALLER**search.n_restarts
    small = finished(
        replace(large, settings=replace(SETTINGS, step_size=step_size)), backend=backend
    )
    assert isinstance(small, Stages) and small.n_restarts == 0
    assert small.controller.history == costs
    assert torch.equal(small.state().W, search.state().W)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_what_is_always_lost_goes_on(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staged, "LOST", -10.0)
    problem = in_float32(make("dds3")) if backend == "cpu" else make("dds3")
    search = finished(problem, backend=backend)
    assert isinstance(search, Stages) and search.n_restarts == staged.MOST_RESTARTS
    assert len(search.controller.history) == STEPS + 1


def test_the_step_size_falls_to_a_tenth() -> None:
    search = start(make("dds3"), SCHEDULE)
    search.advance(4)
    assert search.controller.step_size == SETTINGS.step_size
    search.advance(STEPS)
    assert search.controller.step_size == pytest.approx(
        SETTINGS.step_size * (1 - 0.9 * (ADAPTED - 1) / ADAPTED)
    )


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("kind", KINDS)
def test_silence_stays_silent_and_nan_stops(kind: str, backend: str) -> None:
    problem = in_float32(make(kind)) if backend == "cpu" else make(kind)
    silent = finished(replace(problem, X=torch.zeros_like(problem.X)), backend=backend)
    assert float(silent.state().H.max()) < 1e-4
    X = problem.X.clone()
    X[3, 2] = torch.nan
    search = finished(replace(problem, X=X), backend=backend)
    assert search.controller.stop_reason == "non-finite"


def test_other_threads_same_bits() -> None:
    problem, n_threads = in_float32(make("dds3")), torch.get_num_threads()
    try:
        found = []
        for n in (1, 2):
            torch.set_num_threads(n)
            found.append(finished(problem, backend="cpu"))
    finally:
        torch.set_num_threads(n_threads)
    assert found[0].controller.history == found[1].controller.history
    assert torch.equal(found[0].state().W, found[1].state().W)


@pytest.mark.parametrize("kind", ["dds2", "dds3"])
def test_codes_are_decoded_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second search begins with the entries of the first, and leaves them as they were."""
    decoded = []
    forward = PackedFlow.forward

    def counted(flow: PackedFlow, rows: Tensor, keep: bool) -> Any:
        decoded.append(rows)
        return forward(flow, rows, keep)

    monkeypatch.setattr(PackedFlow, "forward", counted)
    problem = in_float32(make(kind))
    first, second = (finished(problem, backend="cpu") for _ in range(2))
    assert len(decoded) == 1
    assert second.controller.history == first.controller.history
    assert torch.equal(second.state().W, first.state().W)
    assert problem.Z is not None
    problem.Z.mul_(2)
    assert finished(problem, backend="cpu").controller.history != first.controller.history
    assert len(decoded) == 2


def test_several_recordings_are_searched_each_by_itself() -> None:
    problems = [in_float32(make("dds3")), in_float32(lopsided("dds3"))]
    schedules = [SCHEDULE, Schedule(SETTINGS.step_size, FIXED + 4)]
    both = engines.start(problems, schedules)
    while both.running:
        both.advance(both.stride)
    for problem, schedule, controller, state in zip(
        problems, schedules, both.controllers, both.states(), strict=True
    ):
        alone = start(problem, schedule)
        alone.advance(100)
        assert controller.history == alone.controller.history
        assert torch.equal(state.H, alone.state().H)
