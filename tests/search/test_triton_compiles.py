"""Every Triton kernel compiles for the GPUs that are served, on machines without one.

The interpreter accepts more than the compiler does: this is what finds block shapes and types that
no hardware takes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

PROGRAM = Path(__file__).parents[1] / "compile_triton.py"


@pytest.mark.parametrize("architecture", [80, 90])
def test_kernels_compile(architecture: int, tmp_path: Path) -> None:
    """In a process of its own: here the kernels are made for the interpreter."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, PROGRAM, str(architecture)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    assert len(lines) > 20 and all("registers" in line for line in lines)
