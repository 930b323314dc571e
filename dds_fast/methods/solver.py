"""The loop around the update step: progress, callback, interruption."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

from dds_fast.ops.update_step import Problem, Schedule, UpdateStep, update_step

logger = logging.getLogger("dds_fast")

Callback = Callable[[dict[str, Any]], Any]


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
    log = logger.warning if controller.stop_reason in ("non-finite", "interrupted") else logger.info
    log("stopped after %d steps: %s", len(controller.history) - 1, controller.stop_reason)
    return step
