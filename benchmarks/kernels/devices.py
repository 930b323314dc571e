"""Timing that waits for the device."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch


def finish(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(call: Callable[[], Any], device: torch.device) -> float:
    """Seconds of a call, all that it launched included."""
    finish(device)
    start = time.perf_counter()
    result = call()
    finish(device)
    seconds = time.perf_counter() - start
    del result  # freed after the clock was read
    return seconds
