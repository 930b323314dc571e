"""The compiled Adam step of a fixed dictionary against the float64 reference, step by step."""

from __future__ import annotations

import math

import pytest
import torch
from problems import start
from tolerances import assert_close
from torch import Tensor

from dds_fast.search import Schedule
from dds_fast.search.cpu import fixed
from dds_fast.search.problem import nmf_problem

STEPS = 20
SCHEDULE = Schedule(step_size=1e-2, max_steps=STEPS)

SHAPES = [(6, 1, 1), (6, 3, 7), (42, 17, 7), (42, 150, 5), (123, 300, 3), (123, 17, 200)]
"""F, J, T"""


def make(F: int, J: int, T: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(F, T, generator=generator), torch.rand(F, J, generator=generator)


@pytest.mark.parametrize("sparsity", [0.0, 0.5])
@pytest.mark.parametrize("form", ["Gram", "direct"])
@pytest.mark.parametrize("shape", SHAPES)
def test_trajectory_is_that_of_the_reference(
    shape: tuple[int, int, int],
    form: str,
    sparsity: float,
    level: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fixed, "GRAM_SHARE", math.inf if form == "Gram" else 0.0)
    X, W = make(*shape)
    exact = start(nmf_problem(X.double(), W.double(), sparsity), SCHEDULE)
    step = start(nmf_problem(X, W, sparsity), SCHEDULE)
    assert isinstance(step, fixed.FixedSearch)
    for _ in range(STEPS):
        exact.advance()
        step.advance()
        assert step.controller.history == pytest.approx(exact.controller.history, rel=2e-5)
        # Where a gradient vanishes, Adam's step has the sign of a rounding error.
        assert_close("activations", step.state().H, exact.state().H, 1e-3)
    assert step.controller.stop_reason == exact.controller.stop_reason == "max_steps"
    assert torch.equal(step.state().W, W) and step.state().log_likelihoods is None


@pytest.mark.parametrize("shape", [(42, 10, 30), (42, 100, 30)], ids=["Gram", "direct"])
def test_end_of_a_search_is_that_of_the_reference(shape: tuple[int, int, int]) -> None:
    schedule = Schedule(step_size=1e-2, max_steps=400)
    problem = nmf_problem(*make(*shape))
    steps = [start(problem, schedule, backend=name) for name in ("cpu", "reference")]
    for step in steps:
        step.advance(schedule.max_steps)
    costs = [step.controller.history[-1] for step in steps]
    assert costs[0] == pytest.approx(costs[1], rel=1e-3)


@pytest.mark.usefixtures("native_code")
def test_form_follows_the_shape() -> None:
    few, many = (start(nmf_problem(*make(42, J, 3)), SCHEDULE) for J in (31, 32))
    assert type(few.form).__name__ == "_Gram" and type(many.form).__name__ == "_Direct"


@pytest.mark.parametrize("J", [10, 100])
def test_problem_stays_untouched_and_bits_repeat(J: int) -> None:
    X, W = make(42, J, 30)
    # Elements that are not next to each other in memory.
    X, W = X.T.contiguous().T, torch.stack([W, -W], 2)[..., 0]
    problem = nmf_problem(X, W)
    copies = X.clone(), W.clone(), problem.H.clone()
    histories = []
    for _ in range(2):
        step = start(problem, SCHEDULE)
        step.advance(STEPS)
        histories.append(step.controller.history)
    assert histories[0] == histories[1]
    assert all(torch.equal(*p) for p in zip((X, W, problem.H), copies, strict=True))


@pytest.mark.parametrize("J", [3, 40])
def test_perfect_fit_stops(J: int) -> None:
    """A silent spectrogram: the cost reaches 0 and stays there."""
    X, W = make(42, J, 5)
    step = start(nmf_problem(torch.zeros_like(X), W), Schedule(step_size=0.5, max_steps=50))
    step.advance(50)
    assert step.controller.stop_reason == "converged"
    assert step.controller.history[-1] == 0 and not step.state().H.any()


@pytest.mark.parametrize("J", [3, 40])
def test_nan_stops(J: int) -> None:
    X, W = make(42, J, 5)
    X[3, 2] = math.nan
    step = start(nmf_problem(X, W), SCHEDULE)
    assert step.controller.stop_reason == "non-finite"
