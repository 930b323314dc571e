"""``dds-fast bench``: runs the benchmarks of a checkout; the installed package holds none."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
SUITES = ("cpu", "gpu", "table1", "table2", "trends")


def add(commands: Any) -> argparse.ArgumentParser:
    parser = commands.add_parser("bench", help="measure speed, cost and claims, from a checkout")
    parser.add_argument("suite", choices=SUITES, help="what to measure")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of the suite: -h shows them")
    return parser


def run(options: argparse.Namespace) -> int:
    """Run a suite with its own arguments.

    Returns:
        Its exit status.

    Raises:
        RuntimeError: no checkout, or the ``bench`` extra is not installed.
    """
    import subprocess

    benchmarks = checkout() / "benchmarks"
    if importlib.util.find_spec("pytest_benchmark") is None:
        raise RuntimeError("bench needs pytest-benchmark: pip install '.[bench]' in the checkout")
    return subprocess.run(
        [sys.executable, str(benchmarks), options.suite, *options.arguments]
    ).returncode


def checkout() -> Path:
    """The checkout: where an editable install points to, or else the current folder.

    Raises:
        RuntimeError: neither is one.
    """
    for folder in (PACKAGE.parent, Path.cwd()):
        if all((folder / name).is_file() for name in ("benchmarks/__main__.py", "pyproject.toml")):
            return folder
    raise RuntimeError(
        "bench runs from a checkout of dds_fast: go to one, and pip install '.[bench]' there"
    )
