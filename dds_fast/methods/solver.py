"""The loop around the update step: progress, callback, interruption."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from torch import Tensor
from tqdm import tqdm

from dds_fast.ops.frozen import FrozenFlow
from dds_fast.ops.update_step import (
    Controller,
    Problem,
    Schedule,
    State,
    UpdateStep,
    searches_together,
    update_step,
)

logger = logging.getLogger("dds_fast")

Callback = Callable[[dict[str, Any]], Any]

TOGETHER = 8
"""Most recordings that are searched as one, where the device gains by it."""


class Solved(Protocol):
    """A search that has ended: why, after which costs, and where."""

    controller: Controller

    def state(self) -> State: ...


def solve(
    problem: Problem,
    schedule: Schedule,
    *,
    precision: str | None = None,
    backend: str = "auto",
    callback: Callback | None = None,
    progress: bool = False,
) -> UpdateStep:
    """Run update steps until the schedule, the callback or the user stops them.

    Args:
        problem: what to minimise.
        schedule: step size and stop rules.
        precision: "float32" and so on; by default the dtype of the problem.
        backend: a backend's name, or "auto".
        callback: called as ``callback({"step", "cost", "step_size"})`` after each step; returning
            False stops.
        progress: show a progress bar on standard error.

    Returns:
        The update step where it stopped; ``controller`` tells why and holds the cost history.
        Ctrl-C is a stop like the others.
    """
    step = update_step(problem, schedule, precision=precision, backend=backend)
    controller = step.controller
    with tqdm(total=schedule.max_steps, disable=not progress, unit="step") as bar:
        try:
            while controller.stop_reason is None:
                n_before = len(controller.history)
                step.advance(step.stride if callback is None else 1)
                cost = controller.history[-1]
                bar.update(len(controller.history) - n_before)
                bar.set_postfix_str(f"cost {cost:.4g}, step size {controller.step_size:.1e}")
                report = {
                    "step": len(controller.history) - 1,
                    "cost": cost,
                    "step_size": controller.step_size,
                }
                answer = None if callback is None else callback(report)
                if isinstance(answer, bool | np.bool_) and not answer:
                    controller.stop_reason = controller.stop_reason or "callback"
        except KeyboardInterrupt:
            controller.stop_reason = "interrupted"
    _log(controller)
    return step


def n_together(
    X: Tensor, flow: FrozenFlow, *, precision: str | None = None, backend: str = "auto"
) -> int:
    """How many recordings like X should be given to `solve_together`."""
    start = searches_together(X, flow, precision=precision, backend=backend)
    return 1 if start is None else TOGETHER


def solve_together(
    problems: Sequence[Problem],
    schedules: Sequence[Schedule],
    *,
    precision: str | None = None,
    backend: str = "auto",
    progress: bool = False,
) -> Sequence[Solved]:
    """`solve` for recordings that share a flow, as one search where `n_together` says so.

    Each stops by its own schedule; Ctrl-C stops all that still go on.
    """
    first = problems[0]
    assert first.flow is not None
    start = searches_together(first.X, first.flow, precision=precision, backend=backend)
    assert start is not None
    search = start(problems, schedules, precision or "float32")
    recordings = search.recordings
    total = max(schedule.max_steps for schedule in schedules)
    with tqdm(total=total, disable=not progress, unit="step") as bar:
        try:
            while search.running:
                search.advance(search.stride)
                done = max(len(r.controller.history) for r in recordings) - 1
                bar.update(done - bar.n)
                running = sum(r.controller.stop_reason is None for r in recordings)
                bar.set_postfix_str(f"{running} of {len(recordings)} recordings go on")
        except KeyboardInterrupt:
            for recording in recordings:
                if recording.controller.stop_reason is None:
                    recording.controller.stop_reason = "interrupted"
    for recording in recordings:
        _log(recording.controller)
    return recordings


def _log(controller: Controller) -> None:
    log = logger.warning if controller.stop_reason in ("non-finite", "interrupted") else logger.info
    log("stopped after %d steps: %s", len(controller.history) - 1, controller.stop_reason)
