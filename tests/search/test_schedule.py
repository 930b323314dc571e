"""Step-size schedule and stop rules, on crafted cost sequences."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest

from dds_fast.search import Controller, Schedule


def run(costs: Iterable[float], **settings: float) -> Controller:
    """A controller that has seen these costs, or as many as it took to stop."""
    controller = Controller(Schedule(**{"step_size": 1.0, "max_steps": 10_000, **settings}))
    for cost in costs:
        controller.observe(cost)
        if controller.stop_reason is not None:
            break
    return controller


def above_best(n_steps: int) -> list[float]:
    """An initial cost of 1, then costs above it that rise and fall in turn."""
    return [1.0] + [2.0 + i % 2 for i in range(n_steps)]


@pytest.mark.parametrize(
    ("n_steps", "step_size"),
    [(10, 1.0), (11, 0.5), (21, 0.5), (22, 0.25), (33, 0.125)],
)
def test_step_size_is_halved_after_more_than_ten_steps_above_the_best(
    n_steps: int, step_size: float
) -> None:
    controller = run(above_best(n_steps))
    assert controller.step_size == step_size
    assert controller.stop_reason is None


@pytest.mark.parametrize("low", [1.0, 0.9], ids=["equal-to-best", "below-best"])
def test_reaching_the_best_cost_restarts_the_count(low: float) -> None:
    costs = [*above_best(10), low, *above_best(10)[1:]]
    assert run(costs).step_size == 1.0
    assert run([*costs, 2.5]).step_size == 0.5


def test_the_initial_cost_counts_as_best() -> None:
    falling_but_above = [1.0, *(3.0 - 0.01 * i for i in range(11))]
    assert run(falling_but_above).step_size == 0.5


def test_best_is_the_lowest_of_all_costs_not_the_last() -> None:
    sawtooth = [5.0, 1.0] + [4.0 - 0.1 * i for i in range(11)]
    assert run(sawtooth).step_size == 0.5


def test_diverged_after_more_than_a_hundred_steps_without_a_decrease() -> None:
    assert run(float(i) for i in range(101)).stop_reason is None
    controller = run(float(i) for i in range(200))
    assert controller.stop_reason == "diverged"
    assert len(controller.history) == 102


def test_a_single_decrease_restarts_the_divergence_count() -> None:
    rising = [float(i) for i in range(101)]
    controller = run([*rising, 99.5, *(100.0 + i for i in range(100))])
    assert controller.stop_reason is None


def test_converged_when_the_cost_no_longer_changes() -> None:
    controller = run([1.0, 0.5, 0.5, 0.4])
    assert controller.stop_reason == "converged"
    assert controller.history == [1.0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("change", "reason"), [(0.9e-15, "converged"), (1.1e-15, None)], ids=["below", "above"]
)
def test_convergence_tolerance(change: float, reason: str | None) -> None:
    # Near 1e-3 doubles are 2e-19 apart, so changes of 1e-15 can be told from each other.
    assert run([1e-3, 1e-3 - change]).stop_reason == reason


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize("n_before", [0, 1, 5])
def test_a_non_finite_cost_stops_at_once(bad: float, n_before: int) -> None:
    controller = run([*(10.0 - i for i in range(n_before)), bad, 1.0])
    assert controller.stop_reason == "non-finite"
    assert len(controller.history) == n_before + 1


@pytest.mark.parametrize("max_steps", [0, 1, 7])
def test_max_steps_counts_updates_not_the_initial_cost(max_steps: int) -> None:
    controller = run((100.0 - i for i in range(20)), max_steps=max_steps)
    assert controller.stop_reason == "max_steps"
    assert len(controller.history) == max_steps + 1


def test_a_reason_found_in_the_last_step_wins_over_max_steps() -> None:
    assert run([1.0, 0.5, 0.5], max_steps=2).stop_reason == "converged"


def test_patience_factor_and_limits_can_be_set() -> None:
    assert run(above_best(3), patience=2, factor=0.1).step_size == pytest.approx(0.1)
    assert run(range(10), max_increases=3).stop_reason == "diverged"
    assert run([1.0, 0.95], tolerance=0.1).stop_reason == "converged"


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"step_size": 0.0}, "step_size"),
        ({"step_size": -1.0}, "step_size"),
        ({"step_size": math.nan}, "step_size"),
        ({"max_steps": -1}, "max_steps"),
    ],
    ids=["zero", "negative", "nan", "negative-steps"],
)
def test_bad_settings_are_named(settings: dict[str, float], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Schedule(**{"step_size": 1.0, "max_steps": 1, **settings})
