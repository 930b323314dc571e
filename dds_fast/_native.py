"""Loads the compiled modules when they are first needed."""

from __future__ import annotations

import importlib
import os
from functools import cache
from types import ModuleType


@cache
def cpu() -> ModuleType:
    """The compiled CPU kernels. Processes forked from here on compute with one thread.

    Raises:
        ImportError: the module is missing or cannot be loaded; says why and what to do.
    """
    # torch brings its own OpenMP runtime; loaded first, it serves our module too.
    torch = importlib.import_module("torch")
    module = _load("_cpu", "install a wheel of dds-fast, or build it with GCC or Clang (C++20)")
    # A forked process waits forever for the threads of that runtime, which stayed with its parent.
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
    return module


@cache
def cuda() -> ModuleType:
    """The compiled CUDA kernels; they load without a driver or a device.

    Raises:
        ImportError: the module is missing or cannot be loaded; says why and what to do.
    """
    return _load("_cuda", "build dds-fast with nvcc on PATH and DDS_FAST_CUDA=ON")


def _load(name: str, remedy: str) -> ModuleType:
    try:
        return importlib.import_module(f"dds_fast.{name}")
    except ImportError as error:
        raise ImportError(f"cannot load dds_fast.{name} ({error}); {remedy}") from error
