"""Fixtures for all tests."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from fresh import SOUND_PACKAGES

WITHOUT_NATIVE = os.environ.get("DDS_FAST_NATIVE", "ON").upper() == "OFF"
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
if WORKERS > 1:
    # Each process, and those that it starts, has its share of the cores.
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // WORKERS))
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
    # Benchmarks that tests start are not to take themselves for a test's worker.
    del os.environ["PYTEST_XDIST_WORKER"]
if not torch.cuda.is_available():
    # Triton's own functions are made for its interpreter, or not, when it is imported.
    os.environ["TRITON_INTERPRET"] = "1"

ALLOCATORS = (
    (torch, "empty"),
    (torch, "empty_like"),
    (torch, "empty_strided"),
    (torch.Tensor, "new_empty"),
    (torch.Tensor, "new_empty_strided"),
)
with torch.device("meta"):
    # torch remembers from its first time which functions a default device concerns: these.
    torch.empty(0)


def _poisoned(allocate: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def poisoned(*args: Any, **kwargs: Any) -> torch.Tensor:
        tensor = allocate(*args, **kwargs)
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if caller.split(".")[0] == "dds_fast" and tensor.is_floating_point():
            tensor.fill_(torch.nan)
        return tensor

    return poisoned


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Let ``pytest -m gpu`` run on a machine that lacks packages which only other tests import."""
    if config.getoption("markexpr") != "gpu" or collection_path.suffix != ".py":
        return None
    imported = re.findall(r"^(?:import|from) (\w+)", collection_path.read_text(), re.MULTILINE)
    missing = [name for name in imported if name in SOUND_PACKAGES and find_spec(name) is None]
    return True if missing else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Skip what asks for compiled kernels where the installation is meant to have none."""
    try:
        return (yield)
    except (ImportError, RuntimeError) as error:
        if WITHOUT_NATIVE and "cannot load dds_fast._cpu" in str(error):
            pytest.skip("needs native code")
        raise


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `gpu` where torch sees no GPU."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="torch sees no GPU"))


@pytest.fixture(autouse=True)
def poisoned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill the memory that the package allocates with NaN: what is read was written before."""
    for owner, name in ALLOCATORS:
        monkeypatch.setattr(owner, name, _poisoned(getattr(owner, name)))


@pytest.fixture
def native_code() -> ModuleType:
    """The compiled CPU kernels."""
    from dds_fast import _native

    try:
        return _native.cpu()
    except ImportError:
        if WITHOUT_NATIVE:
            pytest.skip("needs native code")
        raise


@pytest.fixture(params=["portable", "avx2", "avx512", "avx512_bf16", "amx"])
def level(request: pytest.FixtureRequest, native_code: ModuleType) -> Iterator[str]:
    """Each instruction-set level of the CPU kernels that this machine can run, made active."""
    if request.param not in native_code.levels():
        pytest.skip(f"this machine has no {request.param}")
    before = native_code.level()
    native_code.set_level(request.param)
    yield request.param
    native_code.set_level(before)


@pytest.fixture
def probe() -> ModuleType:
    """Parts of the compiled kernels by themselves."""
    reason = "needs a build with DDS_FAST_PROBE=ON"
    return pytest.importorskip("dds_fast._probe", reason=reason)


@pytest.fixture
def triton_device() -> torch.device:
    """Where Triton kernels run: a GPU, or the CPU in Triton's interpreter."""
    pytest.importorskip("triton")
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
