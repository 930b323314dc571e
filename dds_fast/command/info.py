"""``dds-fast info``: what this installation is and what it would run, for users and bug reports."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import os
import platform
from typing import Any

from dds_fast.choices import PRECISIONS

PACKAGES = ("torch", "triton", "numpy", "librosa", "soundfile", "safetensors", "mir_eval")
OPS = ("nmf.least_squares", "nmf.multiplicative")
VARIABLES = ("DDS_FAST_BACKEND", "DDS_FAST_CPU_ISA", "OMP_NUM_THREADS")


def add(commands: Any) -> argparse.ArgumentParser:
    return commands.add_parser("info", help="versions, devices and the backends that would run")


def run(options: argparse.Namespace) -> int:
    print(report())
    return 0


def report() -> str:
    """Versions, devices, and the backend that each op would take, with the reasons."""
    return "\n".join([*_versions(), *_cpu(), *_cuda(), *_backends()])


def _versions() -> list[str]:
    lines = [f"dds-fast {_version('dds-fast')}, Python {platform.python_version()}"]
    lines += [f"  {name} {_version(name)}" for name in PACKAGES]
    given = [f"  {name}={os.environ[name]}" for name in VARIABLES if name in os.environ]
    return [*lines, "environment:", *given] if given else lines


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _cpu() -> list[str]:
    import torch

    from dds_fast import _native

    lines = [f"cpu: {platform.machine()}, {torch.get_num_threads()} threads"]
    try:
        native = _native.cpu()
        lines.append(
            f"  kernels: {native.level()} (this machine runs {', '.join(native.levels())})"
        )
    except (ImportError, ValueError) as error:
        lines.append(f"  kernels: none ({error})")
    return lines


def _cuda() -> list[str]:
    from dds_fast import _native

    try:
        native = _native.cuda()
    except ImportError as error:
        return [f"cuda: {error}"]
    devices = native.device_query()
    lines = [f"cuda: kernels built for {native.compiled_architectures()}"]
    if isinstance(devices, str):
        return [*lines, f"  {devices}"]
    for device in devices:
        major, minor = device["compute_capability"]
        lines.append(
            f"  {device['name']}: compute capability {major}.{minor}, "
            f"{device['n_multiprocessors']} multiprocessors, {device['memory'] / 2**30:.0f} GiB"
        )
    return lines


def _backends() -> list[str]:
    import torch

    from dds_fast.search.dispatch import Request, explain
    from dds_fast.search.engines import ENGINES

    ops = {"search": ENGINES}  # the passes of flows are theirs too
    ops |= {op.split(".")[1]: importlib.import_module(f"dds_fast.{op}").BACKENDS for op in OPS}
    devices = [torch.device("cpu")]
    if torch.cuda.is_available():
        devices.append(torch.device("cuda"))
    lines = []
    for device in devices:
        for precision in PRECISIONS:
            dtype = torch.float64 if precision == "float64" else torch.float32
            request = Request(device, dtype, precision)
            lines.append(f"{device} in {precision}:")
            for op, backends in ops.items():
                taken, refusals = explain(backends, request)
                because = f" ({'; '.join(refusals)})" if refusals else ""
                lines.append(f"  {op}: {taken or 'none'}{because}")
    return lines
