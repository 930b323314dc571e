"""Timing that waits for the device, and what the device is called."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable
from contextlib import suppress
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


def description(device: torch.device) -> dict[str, Any]:
    """What a result was measured on, besides the processor."""
    if device.type != "cuda":
        return {}
    properties = torch.cuda.get_device_properties(device)
    found: dict[str, Any] = {
        "gpu": properties.name,
        "multiprocessors": properties.multi_processor_count,
        "gpu_memory": properties.total_memory,
        "cuda": torch.version.cuda,
    }
    with suppress(importlib.metadata.PackageNotFoundError):
        found["triton"] = importlib.metadata.version("triton")
    return found
