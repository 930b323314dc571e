"""``dds-fast bench``: runs the benchmarks of a checkout; the installed package holds none."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PACKAGE = Path(__file__).parent
SUITES = ("cpu", "gpu", "table1", "table2", "trends")


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


def run(suite: str, arguments: Sequence[str]) -> int:
    """Run a suite with its own arguments.

    Returns:
        Its exit status.

    Raises:
        RuntimeError: no checkout, or the ``bench`` extra is not installed.
    """
    benchmarks = checkout() / "benchmarks"
    if importlib.util.find_spec("pytest_benchmark") is None:
        raise RuntimeError("bench needs pytest-benchmark: pip install '.[bench]' in the checkout")
    return subprocess.run([sys.executable, str(benchmarks), suite, *arguments]).returncode
