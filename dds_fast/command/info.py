"""``dds-fast info``: what this installation is and what it would run, for users and bug reports."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
from typing import TYPE_CHECKING, Any

from dds_fast import __version__
from dds_fast.choices import PRECISIONS

if TYPE_CHECKING:
    import torch

PACKAGES = ("torch", "triton", "numpy", "librosa", "soundfile", "safetensors", "mir_eval")
OPS = ("nmf.least_squares", "nmf.multiplicative")
VARIABLES = ("DDS_FAST_BACKEND", "DDS_FAST_CPU_ISA", "OMP_NUM_THREADS")


def add(commands: Any) -> argparse.ArgumentParser:
    return commands.add_parser(
        "info",
        help="versions, devices and the backends that would run",
        description="Say in six lines what is installed and what would run; with -v all of it, for "
        "reports of what went wrong.",
    )


def run(options: argparse.Namespace) -> int:
    print(report() if options.verbose else summary())
    return 0


def summary() -> str:
    """What of `report` fits six lines."""
    cpu, kernels = _cpu()
    cuda, *devices = (line.strip() for line in _cuda())
    given = [f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ]
    return "\n".join(
        [
            f"dds-fast {__version__}, Python {platform.python_version()}, {platform.platform()}",
            ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
            f"{cpu}, {kernels.strip()}",
            "; ".join([cuda, *devices]),
            "searches in float32: " + ", ".join(_searches()),
            f"environment: {', '.join(given) or 'nothing set'}; dds-fast info -v tells all",
        ]
    )


def report() -> str:
    """Versions, devices, and the backend that each op would take, with the reasons."""
    return "\n".join([*_versions(), *_cpu(), *_cuda(), *_backends()])


def _versions() -> list[str]:
    lines = [f"dds-fast {__version__}, Python {platform.python_version()}"]
    lines += [f"  {name} {_version(name)}" for name in PACKAGES]
    given = [f"  {name}={os.environ[name]}" for name in VARIABLES if name in os.environ]
    return [*lines, "environment:", *given] if given else lines


def _version(package: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
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


def _devices() -> list[torch.device]:
    import torch

    kinds = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    return [torch.device(kind) for kind in kinds]


def _searches() -> list[str]:
    """The engine that each device takes."""
    import torch

    from dds_fast.search.dispatch import Request, explain
    from dds_fast.search.engines import ENGINES

    requests = (Request(device, torch.float32, "float32") for device in _devices())
    return [f"{one.device} by {explain(ENGINES, one)[0] or 'none'}" for one in requests]


def _backends() -> list[str]:
    import torch

    from dds_fast.search.dispatch import Request, explain
    from dds_fast.search.engines import ENGINES

    ops = {"search": ENGINES}  # the passes of flows are theirs too
    ops |= {op.split(".")[1]: importlib.import_module(f"dds_fast.{op}").BACKENDS for op in OPS}
    lines = []
    for device in _devices():
        for precision in PRECISIONS:
            dtype = torch.float64 if precision == "float64" else torch.float32
            request = Request(device, dtype, precision)
            lines.append(f"{device} in {precision}:")
            for op, backends in ops.items():
                taken, refusals = explain(backends, request)
                because = f" ({'; '.join(refusals)})" if refusals else ""
                lines.append(f"  {op}: {taken or 'none'}{because}")
    return lines
