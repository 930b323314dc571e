"""The update step against a plain autograd program, step by step in float64."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from problems import PENALTY, SPARSITY, F, K, S, T, make_flow, make_problem, start
from torch import Tensor

from dds_fast import ops
from dds_fast.flows import ConditionalGlow, RealNVPBank
from dds_fast.search import Problem, Schedule, Search, survivors
from dds_fast.search.problem import dds_problem, nmf_problem
from dds_fast.search.reference import decoder

STEPS = 20
SCHEDULE = Schedule(step_size=1e-2, max_steps=STEPS)


def autograd_cost(
    kind: str, flow: RealNVPBank | ConditionalGlow, X: Tensor, Z: Tensor, H: Tensor, data: bool
) -> Tensor:
    """The objective (docs/method.md) and the l1 norm of H as most people would write it."""
    if kind == "dds3":
        z_s = torch.eye(S, dtype=Z.dtype).repeat_interleave(K, 0)
        x, log_det = flow.decode(torch.cat([z_s, Z], 1))
    else:
        x, log_det = flow.decode(Z)
    D = Z.shape[-1]
    likelihood = -0.5 * (Z.square().sum(-1) + D * math.log(2 * math.pi))
    if data:
        likelihood = likelihood - log_det
    likelihood = likelihood / D
    H = torch.relu(H)
    if kind == "dds1":
        approximation = (torch.relu(x) * H[..., None]).sum(0).T
        penalty = (H * likelihood / (H.sum(0) + 1e-7)).sum()
    else:
        approximation = torch.relu(x.reshape(-1, F)).T @ H
        penalty = (H / (H.sum(0) + 1e-3)).sum(1) @ likelihood.reshape(-1)
    sparsity = SPARSITY / math.sqrt(T) * H.sum()
    return torch.linalg.norm(X - approximation) - PENALTY * penalty + sparsity


def autograd_program(
    kind: str, flow: RealNVPBank | ConditionalGlow, problem: Problem, data: bool
) -> tuple[list[float], Tensor]:
    """Alternating Adam steps with two optimizers; returns costs and activations."""
    Z = problem.Z[0, :, S:].clone() if kind == "dds3" else problem.Z.clone()
    H = problem.H.clone()
    variables = {"Z": Z.requires_grad_(), "H": H.requires_grad_()}
    optimizers = {n: torch.optim.Adam([v], lr=SCHEDULE.step_size) for n, v in variables.items()}
    costs = [autograd_cost(kind, flow, problem.X, Z, H, data).item()]
    for _ in range(STEPS):
        for name, variable in variables.items():
            cost = autograd_cost(kind, flow, problem.X, Z, H, data)
            (variable.grad,) = torch.autograd.grad(cost, variable)
            optimizers[name].step()
        costs.append(autograd_cost(kind, flow, problem.X, Z, H, data).item())
    return costs, H.detach()


@pytest.mark.parametrize("likelihood", ["latent", "data"])
@pytest.mark.parametrize("kind", ["dds1", "dds2", "dds3"])
def test_steps_are_those_of_an_autograd_program(kind: str, likelihood: str) -> None:
    flow = make_flow(kind)
    problem = make_problem(kind, flow, likelihood)
    costs, H = autograd_program(kind, flow, problem, likelihood == "data")
    step = start(problem, SCHEDULE)
    step.advance(STEPS)
    assert step.controller.step_size == SCHEDULE.step_size  # else the programs may differ
    assert step.controller.history == pytest.approx(costs, rel=1e-10)
    torch.testing.assert_close(step.state().H, H.clamp_min(0), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sparsity", [0.0, SPARSITY])
def test_nmf_steps_are_those_of_an_autograd_program(sparsity: float) -> None:
    generator = torch.Generator().manual_seed(0)
    X = torch.rand(F, T, generator=generator).double()
    W = torch.rand(F, 40, generator=generator).double()
    problem = nmf_problem(X, W, sparsity)
    assert torch.equal(problem.H, torch.full((40, T), 1 / 40, dtype=torch.float64))
    H = problem.H.clone().requires_grad_()
    adam = torch.optim.Adam([H], lr=SCHEDULE.step_size)

    def cost() -> Tensor:
        return torch.linalg.norm(X - W @ H) + sparsity / math.sqrt(T) * H.sum()

    costs = [cost().item()]
    for _ in range(STEPS):
        (H.grad,) = torch.autograd.grad(cost(), H)
        adam.step()
        H.data.clamp_min_(0)
        costs.append(cost().item())
    step = start(problem, SCHEDULE)
    step.advance(STEPS)
    assert step.controller.history == pytest.approx(costs, rel=1e-10)
    torch.testing.assert_close(step.state().H, H.detach(), rtol=1e-9, atol=1e-9)
    assert step.state().log_likelihoods is None


@pytest.mark.parametrize("kind", ["dds1", "dds2", "dds3"])
def test_chunks_of_rows_change_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = make_problem(kind, make_flow(kind), "data")
    whole = start(problem, SCHEDULE)
    whole.advance(5)
    monkeypatch.setattr(decoder, "STASH_BYTES", 1)  # one row at a time, decoded twice
    chunked = start(problem, SCHEDULE)
    chunked.advance(5)
    assert chunked.controller.history == pytest.approx(whole.controller.history, rel=1e-12)
    torch.testing.assert_close(chunked.state().W, whole.state().W)


def dying_problem(kind: str, n_dying: int) -> tuple[Problem, int]:
    """A problem whose first sources die, and how many rows of H they have.

    All activations are too large; those of the first sources cross zero on their way down.
    """
    problem = make_problem(kind, make_flow(kind), "data")
    H = torch.ones_like(problem.H)
    dying = n_dying * len(H) // S
    H[:dying] = 0.03
    if n_dying == S - 1:
        H[-1, 3:] = 0.03  # the one that is left dies in some frames: no reason to drop anything
    return replace(problem, X=1e-3 * problem.X, H=H), dying


@pytest.mark.parametrize("n_dying", [1, S - 1], ids=["one source dies", "one source is left"])
@pytest.mark.parametrize("kind", ["dds1", "dds2", "dds3"])
def test_dropping_dead_entries_changes_nothing(
    kind: str, n_dying: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, dying = dying_problem(kind, n_dying)
    monkeypatch.setattr(survivors, "DROP_EVERY", 10**6)
    whole = start(problem, SCHEDULE)
    whole.advance(STEPS)
    monkeypatch.setattr(survivors, "DROP_EVERY", 3)
    shrinking = start(problem, SCHEDULE)
    shrinking.advance(STEPS)
    alive = whole.state().H.any(dim=1)
    assert alive.tolist() == [row >= dying for row in range(len(problem.H))]
    assert torch.equal(shrinking.survivors.entries, alive.nonzero()[:, 0])
    assert shrinking.controller.history == pytest.approx(whole.controller.history, rel=1e-10)
    torch.testing.assert_close(shrinking.state().H, whole.state().H, rtol=1e-8, atol=1e-10)
    by_entry = [s.state().W.movedim(0 if kind == "dds1" else 1, 0) for s in (shrinking, whole)]
    assert by_entry[0].shape == by_entry[1].shape and not by_entry[0].isnan().any()
    torch.testing.assert_close(by_entry[0][alive], by_entry[1][alive], rtol=1e-8, atol=1e-10)
    likelihoods = [s.state().log_likelihoods for s in (shrinking, whole)]
    torch.testing.assert_close(likelihoods[0][alive], likelihoods[1][alive], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("kind", ["dds1", "dds2", "dds3"])
def test_one_decode_and_one_backward_per_step(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    ops_of_flow = decoder.flow_reference
    for name in ("forward", "backward"):
        original = getattr(ops_of_flow, name)

        def counting(*args: object, name: str = name, original: object = original) -> object:
            calls.append(name)
            return original(*args)

        monkeypatch.setattr(ops_of_flow, name, counting)
    step = start(make_problem(kind, make_flow(kind), "latent"), SCHEDULE)
    step.advance(3)
    assert calls == ["forward"] + 3 * ["backward", "forward"]


KINDS = ("dds1", "dds2", "dds3")

# Largest relative difference of 20 costs to float64. Measured: 5.2e-8 (PyTorch in float32 too),
# 1.6e-6 and 3.3e-4.
COST_TOLERANCES = {"float32": 3e-7, "bf16x3": 1e-5, "bfloat16": 2e-3}


def in_float32(problem: Problem) -> Problem:
    assert problem.flow is not None and problem.Z is not None
    return replace(
        problem,
        X=problem.X.float(),
        H=problem.H.float(),
        Z=problem.Z.float(),
        flow=problem.flow.to(torch.float32),
    )


def compiled(problem: Problem, precision: str = "float32") -> Search:
    """The compiled search in float32 after all steps."""
    step = start(in_float32(problem), SCHEDULE, precision=precision, backend="cpu")
    step.advance(STEPS)
    return step


@pytest.mark.parametrize("clipped", [0.0, 0.9], ids=["dense", "sparse"])
@pytest.mark.parametrize("precision", COST_TOLERANCES)
@pytest.mark.parametrize("likelihood", ["latent", "data"])
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_steps_are_those_of_the_reference(
    level: str, kind: str, likelihood: str, precision: str, clipped: float
) -> None:
    """Where most activations are clipped, the objective's products leave these out."""
    problem = make_problem(kind, make_flow(kind), likelihood)
    dead = torch.rand(problem.H.shape, generator=torch.Generator().manual_seed(4)) < clipped
    problem = replace(problem, H=problem.H.masked_fill(dead, -0.1))
    exact = start(problem, SCHEDULE)
    exact.advance(STEPS)
    step = compiled(problem, precision)
    bound = COST_TOLERANCES[precision]
    assert step.controller.history == pytest.approx(exact.controller.history, rel=bound)
    if precision == "float32":
        state, expected = step.state(), exact.state()
        torch.testing.assert_close(state.W.double(), expected.W, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(state.H.double(), expected.H, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(
            state.log_likelihoods.double(), expected.log_likelihoods, rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("kind", KINDS)
def test_compiled_step_without_room_for_a_stash(
    level: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each block of rows then decodes once more for its gradient; nothing else changes."""
    problem = make_problem(kind, make_flow(kind), "data")
    whole = compiled(problem)
    monkeypatch.setattr(decoder, "STASH_BYTES", 1)
    frugal = compiled(problem)
    assert frugal.controller.history == whole.controller.history
    assert torch.equal(frugal.state().W, whole.state().W)


@pytest.mark.parametrize("stash_bytes", [1, decoder.STASH_BYTES], ids=["no stash", "stash"])
@pytest.mark.parametrize("n_dying", [1, S - 1])
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_step_drops_dead_entries(
    kind: str, n_dying: int, stash_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, _ = dying_problem(kind, n_dying)
    monkeypatch.setattr(decoder, "STASH_BYTES", stash_bytes)
    monkeypatch.setattr(survivors, "DROP_EVERY", 3)
    shrinking = compiled(problem)
    monkeypatch.setattr(survivors, "DROP_EVERY", 10**6)
    whole = compiled(problem)
    # Entries by source and frame (DDS-1), or by row of H.
    alive = whole.state().H > 0 if kind == "dds1" else whole.state().H.any(dim=1)
    assert torch.equal(shrinking.listed, alive.flatten().nonzero()[:, 0])
    assert 0 < len(shrinking.listed) < alive.numel()
    assert shrinking.controller.history == pytest.approx(whole.controller.history, rel=1e-6)
    torch.testing.assert_close(shrinking.state().H, whole.state().H, rtol=1e-4, atol=1e-6)
    kept = [step.state().W.transpose(-1, -2)[alive] for step in (shrinking, whole)]
    torch.testing.assert_close(*kept, rtol=1e-4, atol=1e-6)
    likelihoods = [step.state().log_likelihoods[alive] for step in (shrinking, whole)]
    torch.testing.assert_close(*likelihoods, rtol=1e-5, atol=1e-6)


def test_a_state_does_not_change_with_later_steps() -> None:
    problem = in_float32(make_problem("dds2", make_flow("dds2"), "latent"))
    step = start(problem, SCHEDULE, backend="cpu")
    step.advance(3)
    state = step.state()
    before = state.W.clone(), state.H.clone(), state.log_likelihoods.clone()
    step.advance(3)
    assert all(
        torch.equal(*pair)
        for pair in zip((state.W, state.H, state.log_likelihoods), before, strict=True)
    )


def test_compiled_steps_repeat_bit_for_bit() -> None:
    problem = make_problem("dds2", make_flow("dds2"), "latent")
    first, second = compiled(problem, "bfloat16"), compiled(problem, "bfloat16")
    assert first.controller.history == second.controller.history


def test_silence_and_not_a_number() -> None:
    problem = in_float32(make_problem("dds2", make_flow("dds2"), "latent"))
    silent = replace(problem, X=torch.zeros_like(problem.X), H=torch.zeros_like(problem.H))
    step = start(silent, SCHEDULE, backend="cpu")
    step.advance(5)
    assert step.controller.history[0] == step.controller.history[-1] == 0.0
    X = problem.X.clone()
    X[3, 2] = torch.nan
    step = start(replace(problem, X=X), SCHEDULE, backend="cpu")
    assert step.controller.stop_reason == "non-finite"


def test_initial_values_follow_the_paper() -> None:
    flow = make_flow("dds3")
    X = torch.rand(F, T).double()
    problem = dds_problem(X, flow.freeze(), "dds3", n_sources=S, n_components=K, penalty=0.0)
    assert torch.equal(problem.Z[0, :, :S], torch.eye(S).double().repeat_interleave(K, 0))
    assert not problem.Z[0, :, S:].any()
    assert problem.n_fixed == S
    bound = math.sqrt(float(problem.X.mean()) / (S * K))
    assert 0 <= float(problem.H.min()) and 0.8 * bound < float(problem.H.max()) < bound


def test_the_class_code_stays_fixed() -> None:
    problem = make_problem("dds3", make_flow("dds3"), "latent")
    step = start(problem, SCHEDULE)
    step.advance(5)
    assert step.decoder.free.shape == (1, S * K, F - S)
    x, _ = ops.flow_decode(problem.flow, torch.cat([problem.Z[..., :S], step.decoder.free], dim=-1))
    torch.testing.assert_close(step.state().W, x[0].T.clamp_min(0))


def test_problem_needs_one_kind_of_dictionary() -> None:
    with pytest.raises(ValueError, match="either a fixed dictionary W or a flow"):
        Problem(torch.rand(3, 4), torch.rand(2, 4), epsilon=0.0)


def test_unknown_likelihood_is_refused() -> None:
    with pytest.raises(ValueError, match="likelihood must be one of"):
        make_problem("dds2", make_flow("dds2"), "posterior")
