"""The search on the device against the reference in float64: on a GPU, or in the interpreter."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from problems import make_flow, make_problem, start

from dds_fast.flows.reference import flow as flow_reference
from dds_fast.ops import FrozenFlow
from dds_fast.search import Problem, Schedule, Search, survivors
from dds_fast.search.gpu import decoder, gradient, triton
from dds_fast.search.problem import nmf_problem

SCHEDULE = Schedule(step_size=1e-2, max_steps=6)
# Six steps in float32 were measured to differ by 1.1e-7 (cost) and 4.3e-7 (W and H) on order one.
COST, FACTORS = 1e-6, 3e-6


def on_triton(problem: Problem, schedule: Schedule, precision: str = "float32") -> Search:
    return triton.search([problem], [schedule], precision)


def on_device(problem: Problem, where: torch.device) -> Problem:
    """The problem in float32."""

    def moved(tensor: torch.Tensor | None) -> torch.Tensor | None:
        return None if tensor is None else tensor.float().to(where)

    flow = None if problem.flow is None else problem.flow.to(torch.float32, where)
    tensors = {name: moved(getattr(problem, name)) for name in ("X", "H", "W", "Z")}
    return replace(problem, flow=flow, **tensors)


def draw(kind: str, likelihood: str = "latent") -> Problem:
    if kind != "nmf":
        return make_problem(kind, make_flow(kind), likelihood)
    generator = torch.Generator().manual_seed(0)
    X, W = torch.rand(11, 7, generator=generator), torch.rand(11, 5, generator=generator)
    return nmf_problem(X.double(), W.double(), sparsity=0.1)


def assert_agree(actual: Search, expected: Search) -> None:
    assert actual.controller.stop_reason == expected.controller.stop_reason
    assert actual.controller.step_size == expected.controller.step_size
    costs = zip(actual.controller.history, expected.controller.history, strict=True)
    for cost, exact in costs:
        assert cost == pytest.approx(exact, rel=COST)
    state, exact = actual.state(), expected.state()
    for name in ("W", "H", "log_likelihoods"):
        value, reference_value = getattr(state, name), getattr(exact, name)
        if reference_value is None:
            assert value is None
            continue
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.cpu().double(), reference_value, rtol=0, atol=FACTORS)


@pytest.mark.parametrize(
    ("kind", "likelihood"),
    [("dds1", "latent"), ("dds1", "data"), ("dds2", "latent"), ("dds2", "data"), ("dds3", "data")]
    + [("nmf", "latent")],
)
def test_trajectory(triton_device: torch.device, kind: str, likelihood: str) -> None:
    problem = draw(kind, likelihood)
    expected = start(problem, SCHEDULE)
    expected.advance(6)
    actual = on_triton(on_device(problem, triton_device), SCHEDULE)
    actual.advance(2)
    assert len(actual.controller.history) == 3 and actual.controller.stop_reason is None
    actual.advance(4)
    assert_agree(actual, expected)


def test_twenty_steps_beside_the_cpu_kernels(triton_device: torch.device) -> None:
    problem = on_device(draw("dds2"), torch.device("cpu"))
    schedule = Schedule(step_size=1e-2, max_steps=20)
    expected = start(problem, schedule, backend="cpu")
    expected.advance(20)
    actual = on_triton(on_device(problem, triton_device), schedule, "float32")
    actual.advance(20)
    costs = pytest.approx(expected.controller.history, rel=1e-6)  # measured: 6e-8
    assert actual.controller.history == costs


@pytest.mark.parametrize("precision", ["bf16x3", "bfloat16"])
def test_lower_precision_follows_the_same_path(triton_device: torch.device, precision: str) -> None:
    """Adam's first steps only see signs, and rounding can turn one: compared by the cost."""
    problem = draw("dds2")
    expected = start(problem, SCHEDULE)
    expected.advance(6)
    actual = on_triton(on_device(problem, triton_device), SCHEDULE, precision)
    actual.advance(6)
    assert actual.controller.history == pytest.approx(expected.controller.history, rel=5e-3)


def test_rows_in_chunks(triton_device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit is decoded again for the gradient: the same bits."""
    problem = on_device(draw("dds1", "data"), triton_device)
    whole = on_triton(problem, SCHEDULE)
    whole.advance(2)
    row = flow_reference.stash_bytes_per_row(problem.flow) * 3
    monkeypatch.setattr(decoder, "STASH_BYTES", 4 * row)
    parts = on_triton(problem, SCHEDULE)
    assert parts.decoder.chunk == 4
    parts.advance(2)
    assert parts.controller.history == whole.controller.history


def test_steps_beyond_the_stop_move_nothing(triton_device: torch.device) -> None:
    problem = on_device(draw("dds2"), triton_device)
    short = on_triton(problem, replace(SCHEDULE, max_steps=2), "float32")
    short.advance(5)
    exact = on_triton(problem, replace(SCHEDULE, max_steps=2), "float32")
    exact.advance(2)
    assert short.controller.stop_reason == "max_steps"
    assert short.controller.history == exact.controller.history
    assert torch.equal(short.state().W, exact.state().W)
    assert torch.equal(short.state().H, exact.state().H)


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule(step_size=1.0, max_steps=9, patience=1),
        Schedule(step_size=1.0, max_steps=9, patience=9, max_increases=1),
        Schedule(step_size=1e-2, max_steps=9, tolerance=1e3),
        Schedule(step_size=1e-2, max_steps=0),
    ],
)
def test_schedule(triton_device: torch.device, schedule: Schedule) -> None:
    """Halvings and stops fall where the host's controller has them."""
    problem = draw("nmf")
    expected = start(problem, schedule)
    expected.advance(9)
    actual = on_triton(on_device(problem, triton_device), schedule, "float32")
    actual.advance(9)
    assert_agree(actual, expected)


def test_non_finite_cost_stops(triton_device: torch.device) -> None:
    problem = on_device(draw("nmf"), triton_device)
    problem.X[0, 0] = torch.inf
    step = on_triton(problem, SCHEDULE)
    assert step.controller.stop_reason == "non-finite"
    assert not math.isfinite(step.controller.history[0])


@pytest.mark.parametrize("kind", ["dds1", "dds2", "dds3"])
def test_dropping_dead_entries_changes_nothing(
    triton_device: torch.device, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = on_device(draw(kind), triton_device)
    H = problem.H.clone()
    H[: len(H) // 3] = -1.0
    problem = replace(problem, H=H)
    schedule = replace(SCHEDULE, max_steps=4)
    whole = on_triton(problem, schedule)
    whole.advance(4)
    monkeypatch.setattr(survivors, "DROP_EVERY", 2)
    fewer = on_triton(problem, schedule)
    for _ in range(2):
        fewer.advance(2)
    assert len(fewer.recordings[0].H) < len(whole.recordings[0].H)
    assert fewer.controller.history == pytest.approx(whole.controller.history, rel=1e-6)
    torch.testing.assert_close(fewer.state().H, whole.state().H)
    # Dead entries still move towards likelier ones; set aside, they stay as they were.
    alive = slice(len(H) // 3, None)
    entries = [step.state().W for step in (fewer, whole)]
    if kind == "dds1":
        torch.testing.assert_close(entries[0][alive], entries[1][alive])
    else:
        torch.testing.assert_close(entries[0][:, alive], entries[1][:, alive])


@pytest.mark.parametrize("kind", ["dds1", "dds2", "dds3"])
def test_recordings_searched_together(triton_device: torch.device, kind: str) -> None:
    """Each goes its own way, to its own stop."""
    first = on_device(draw(kind), triton_device)
    shorter = slice(0, 4)
    Z = first.Z[:, shorter] if kind == "dds1" else first.Z
    second = replace(first, X=first.X[:, shorter] * 2, H=first.H[:, shorter], Z=Z)
    schedules = [replace(SCHEDULE, max_steps=n) for n in (3, 2)]
    together = gradient.GradientSearch([first, second], schedules, "float32", triton.flow)
    together.advance(4)
    assert not together.running
    for recording, problem, schedule in zip(
        together.recordings, (first, second), schedules, strict=True
    ):
        alone = on_triton(problem, schedule, "float32")
        alone.advance(4)
        assert recording.controller.history == pytest.approx(alone.controller.history, rel=1e-6)
        assert recording.controller.stop_reason == "max_steps"
        torch.testing.assert_close(recording.state().H, alone.state().H)


def test_recordings_with_flows_of_their_own_are_not_searched_together() -> None:
    problems = [draw("dds2"), draw("dds2")]
    with pytest.raises(ValueError, match="must share their flow"):
        gradient.GradientSearch(problems, [SCHEDULE] * 2, "float32", triton.flow)


class FusedOps:
    """A flow backend with an `update`, made of the reference: what csrc/cuda does in a launch."""

    @staticmethod
    def forward(
        flow: FrozenFlow,
        rows: torch.Tensor,
        direction: str,
        keep: bool,
        precision: str,
        groups: torch.Tensor,
    ) -> tuple:
        x, log_det, _ = flow_reference.forward(flow.select(groups), rows, direction)
        return x, log_det, []

    @staticmethod
    def update(
        flow: FrozenFlow,
        stash: list,
        grad_entries: torch.Tensor,
        row_weights: torch.Tensor | None,
        grad_log_likelihoods: torch.Tensor,
        scalars: torch.Tensor,
        latents: torch.Tensor,
        moments: tuple[torch.Tensor, torch.Tensor],
        entries: torch.Tensor,
        log_likelihoods: torch.Tensor,
        *,
        data_likelihood: bool,
        n_fixed: int,
        stopped: torch.Tensor,
        groups: torch.Tensor,
    ) -> None:
        assert n_fixed == 0 and stopped.dtype == torch.int32 and stopped.shape == (1,)
        if int(stopped):
            return
        ops, flow, D = flow_reference, flow.select(groups), latents.shape[-1]
        scale, rate, correction = scalars.tolist()[:3]
        if row_weights is not None:
            grad_entries = grad_entries * row_weights[..., None]
        gradient = grad_entries * scale * (entries > 0)
        of_log_det = -grad_log_likelihoods / D if data_likelihood else None
        kept = ops.forward(flow, latents, "decode")[2]
        gradient = ops.backward(flow, kept, gradient, of_log_det, "decode")
        gradient -= grad_log_likelihoods[..., None] * latents / D
        moments[0].lerp_(gradient, 0.1)
        moments[1].mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        latents -= rate * moments[0] / (moments[1].sqrt() * correction + 1e-8)
        x, log_det, _ = ops.forward(flow, latents, "decode")
        entries.copy_(x.clamp_min(0))
        log_likelihoods.copy_(-0.5 * math.log(2 * math.pi) - latents.square().sum(-1) / (2 * D))
        if data_likelihood:
            log_likelihoods -= log_det / D


@pytest.mark.parametrize("likelihood", ["latent", "data"])
@pytest.mark.parametrize("kind", ["dds1", "dds2"])
def test_latents_moved_in_one_launch(
    triton_device: torch.device, kind: str, likelihood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if triton_device.type != "cpu":
        pytest.skip("the stand-in reads numbers on the host; the kernels: test_gpu.py")
    problem = draw(kind, likelihood)
    H = problem.H.clone()
    H[: len(H) // 3] = -1.0
    problem = replace(problem, H=H)
    expected = start(problem, SCHEDULE)
    expected.advance(6)
    monkeypatch.setattr(survivors, "DROP_EVERY", 2)
    actual = gradient.gradient_search(
        [on_device(problem, triton_device)], [SCHEDULE], "float32", FusedOps
    )
    assert isinstance(actual, gradient.FusedSearch)
    for _ in range(4):
        actual.advance(2)
    assert len(actual.recordings[0].H) < len(H)
    costs = pytest.approx(expected.controller.history, rel=COST)
    assert actual.controller.history == costs
    state, exact = actual.state(), expected.state()
    torch.testing.assert_close(state.H.double(), exact.H, rtol=0, atol=FACTORS)
    alive = state.H.any(1)
    entries = (state.W, exact.W) if kind == "dds1" else (state.W.T, exact.W.T)
    torch.testing.assert_close(entries[0][alive].double(), entries[1][alive], rtol=0, atol=FACTORS)
