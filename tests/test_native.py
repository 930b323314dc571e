"""The compiled modules: lazy loading, messages, and the build switches."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import fresh
import pytest

from dds_fast import _native

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_missing_module_says_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, f"dds_fast._{name}", None)
    loader = getattr(_native, name)
    loader.cache_clear()
    with pytest.raises(ImportError, match=rf"cannot load dds_fast\._{name} .*; (install|build)"):
        loader()


def test_cpu_levels() -> None:
    native = _native.cpu()
    levels = native.levels()
    assert levels[0] == "portable"
    assert native.level() in levels


def test_forked_processes_do_not_wait_for_threads_that_stayed_behind() -> None:
    code = """
import multiprocessing, sys
import numpy as np
from dds_fast import nmf

X = np.random.default_rng(0).random((300, 300)).astype("f4")

def work():
    nmf.factorize(X, 8, n_steps=3)
    nmf.activations(X, X)

work()
process = multiprocessing.get_context("fork").Process(target=work)
process.start()
process.join(60)
process.kill()
sys.exit(process.exitcode)
"""
    result = fresh.run(code, OMP_NUM_THREADS="2")
    assert result.returncode == 0, result.stderr


@pytest.mark.usefixtures("native_code")
@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory map of Linux")
def test_one_openmp_runtime_serves_torch_and_the_kernels() -> None:
    code = """
import re
import numpy as np
import torch
from dds_fast import _native, nmf

nmf.factorize(np.ones((64, 64), "f4"), 4, n_steps=2)
assert _native.cpu() and torch.backends.openmp.is_available()
for line in open("/proc/self/maps"):
    if re.search(r"/lib(g|i)?omp[^/]*$", line):
        print(line.split()[-1])
"""
    result = fresh.run(code)
    assert result.returncode == 0, result.stderr
    assert len(set(result.stdout.split())) == 1, result.stdout


@pytest.mark.parametrize("format", ["float32", "bfloat16"])
def test_multiply_adds_in_registers_are_counted(level: str, format: str, probe: ModuleType) -> None:
    def count(rounds: int, n_threads: int) -> int:
        return probe.multiply_registers(level, format, rounds, n_threads)

    assert count(6, 1) == count(3, 2) == 3 * count(1, 2) > 0


def test_cuda_module_reports_devices_or_reason() -> None:
    """It imports without a driver, and then says why there is no device."""
    try:
        native = importlib.import_module("dds_fast._cuda")
    except ModuleNotFoundError:
        pytest.skip("the CUDA module was not built")
    assert native.compiled_architectures()
    devices = native.device_query()
    if isinstance(devices, str):
        assert devices.startswith("no device: ")
    else:
        assert devices and all(device["n_multiprocessors"] > 0 for device in devices)


@pytest.mark.gpu
def test_device_query_on_a_device() -> None:
    (device, *_) = _native.cuda().device_query()
    assert device["name"] and device["memory"] > 0
    assert device["compute_capability"] >= (8, 0)


def _configure(build: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    pybind11 = pytest.importorskip("pybind11")
    if shutil.which("cmake") is None or shutil.which("c++") is None:
        pytest.skip("needs cmake and a C++ compiler")
    return subprocess.run(
        [
            "cmake",
            f"-S{ROOT}",
            f"-B{build}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            f"-DPython_EXECUTABLE={sys.executable}",
            *options,
        ],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_cuda_switch_off(tmp_path: Path) -> None:
    result = _configure(tmp_path, "-DDDS_FAST_CUDA=OFF")
    assert result.returncode == 0, result.stderr
    assert "CUDA module: off" in result.stdout


@pytest.mark.slow
def test_cuda_switch_auto_without_nvcc(tmp_path: Path) -> None:
    result = _configure(tmp_path, CUDACXX=str(tmp_path / "nvcc"))
    assert result.returncode == 0, result.stderr
    assert "CUDA module: skipped, no nvcc found" in result.stdout


@pytest.mark.slow
def test_cuda_switch_on_without_nvcc(tmp_path: Path) -> None:
    result = _configure(tmp_path, "-DDDS_FAST_CUDA=ON", CUDACXX=str(tmp_path / "nvcc"))
    assert result.returncode != 0
    assert "DDS_FAST_CUDA=ON, but no CUDA compiler was found" in result.stderr


@pytest.mark.slow
def test_without_native_code_no_compiler_is_looked_for(tmp_path: Path) -> None:
    result = _configure(tmp_path, "-DDDS_FAST_NATIVE=OFF", CXX=str(tmp_path / "g++"))
    assert result.returncode == 0, result.stderr
    assert "Native code: off" in result.stdout


@pytest.mark.slow
def test_a_missing_compiler_is_told_with_the_way_out(tmp_path: Path) -> None:
    result = _configure(tmp_path, CXX=str(tmp_path / "g++"))
    assert result.returncode != 0
    assert "found no C++ compiler: install GCC or Clang" in " ".join(result.stderr.split())
    assert "DDS_FAST_NATIVE=OFF in the environment" in " ".join(result.stderr.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("switch", "legal"), [("CUDA", "AUTO, ON or OFF"), ("SANITIZE", "OFF, address or thread")]
)
def test_switches_of_unknown_value(tmp_path: Path, switch: str, legal: str) -> None:
    result = _configure(tmp_path, f"-DDDS_FAST_{switch}=maybe")
    assert result.returncode != 0
    assert f"must be {legal}, not 'maybe'" in " ".join(result.stderr.split())
