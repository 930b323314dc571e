"""The loop around a search: progress, callback, interruption."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from dds_fast.search.schedule import Controller
from dds_fast.search.search import Search

logger = logging.getLogger("dds_fast")

Callback = Callable[[dict[str, Any]], Any]


def run(
    search: Search,
    *,
    callback: Callback | None = None,
    progress: Callable[[float, str], Any] | None = None,
) -> None:
    """Advance a search until its schedules, the callback or the user stop it.

    The search's controllers tell why it stopped and hold the costs. Ctrl-C is a stop like the
    others.

    Args:
        search: what to advance.
        callback: called as ``callback({"stage", "step", "cost", "step_size"})`` after each step of
            a search of one recording; returning False stops.
        progress: called with the share of the search that is done, and what is being done.
    """
    controllers = search.controllers
    try:
        while search.running:
            search.advance(search.stride if callback is None else 1)
            if progress is not None:
                done = max(len(controller.history) for controller in controllers) - 1
                progress(done / max(1, search.most_steps), _described(search))
            if callback is not None:
                _call(callback, search.controller)
    except KeyboardInterrupt:
        for controller in controllers:
            controller.stop_reason = controller.stop_reason or "interrupted"
    for controller in controllers:
        reason = controller.stop_reason
        log = logger.warning if reason in ("non-finite", "interrupted") else logger.info
        log("stopped after %d steps: %s", len(controller.history) - 1, reason)


def _described(search: Search) -> str:
    if len(search.controllers) > 1:
        running = sum(c.stop_reason is None for c in search.controllers)
        return f"{running} of {len(search.controllers)} recordings go on"
    controller = search.controller
    return f"{controller.stage}, cost {controller.history[-1]:.4g}"


def _call(callback: Callback, controller: Controller) -> None:
    report = {
        "stage": controller.stage,
        "step": len(controller.history) - 1,
        "cost": controller.history[-1],
        "step_size": controller.step_size,
    }
    answer = callback(report)
    if isinstance(answer, bool | np.bool_) and not answer:
        controller.stop_reason = controller.stop_reason or "callback"
