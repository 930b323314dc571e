"""Where the packages that read sound are missing, all that needs no sound works."""

from __future__ import annotations

import os
from pathlib import Path

import fresh
import pytest
from fresh import SOUND_PACKAGES

CHECKOUT = Path(__file__).parents[1]
BLOCKER = f"""
import sys
from importlib.machinery import PathFinder

class Blocker(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in {SOUND_PACKAGES!r}:
            return None
        return super().find_spec(name, path, target)

sys.meta_path = [Blocker if finder is PathFinder else finder for finder in sys.meta_path]
"""


@pytest.fixture
def without(tmp_path: Path) -> dict[str, str]:
    """The environment of an interpreter that lacks these packages, like all that it starts."""
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)
    given = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(tmp_path), *([given] if given else [])])
    return {"PYTHONPATH": path, "TRITON_INTERPRET": "0"}


def test_the_packages_are_missing(without: dict[str, str]) -> None:
    find = "from importlib.util import find_spec; import numpy; print("
    done = fresh.run(f"{find}[find_spec(name) for name in {SOUND_PACKAGES!r}])", **without)
    assert done.stdout.strip() == str([None] * len(SOUND_PACKAGES)), done.stderr


DECOMPOSE = """
import numpy as np
import dds_fast
import dds_fast.command.main, dds_fast.metrics, dds_fast.plots, dds_fast.notes.found
from dds_fast.flows import RealNVPBank

bank = RealNVPBank(2, 16, n_steps=2, width=4, depth=1)
config = dds_fast.SpectrogramConfig.for_features(16)
dictionary = dds_fast.Dictionary.from_flow(bank, [60, 64], config)
X = np.random.default_rng(0).random((16, 9), dtype=np.float32)
result = dds_fast.decompose(
    dds_fast.Spectrogram(X, config), dictionary, n_components=2, max_steps=3
)
print(result.source_activations.shape, result.n_steps)
"""


def test_a_spectrogram_is_decomposed(without: dict[str, str]) -> None:
    done = fresh.run(DECOMPOSE, **without)
    assert done.stdout.split() == ["(2,", "9)", "3"], done.stderr


BENCH = """
import os, sys
from dds_fast.command.main import main

os.chdir({checkout!r})
arguments = ["--quick", "--device", "cpu", "--only", "W1-F512-K1", "--out", {out!r}]
sys.exit(main(["bench", "gpu", *arguments]))
"""


@pytest.mark.slow
def test_the_gpu_suite_runs(without: dict[str, str], tmp_path: Path) -> None:
    """Without a GPU: what needs one is refused, with the reason, and the rest measured."""
    out = tmp_path / "out"
    done = fresh.run(BENCH.format(checkout=str(CHECKOUT), out=str(out)), **without)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in out.iterdir()} == {
        *("machine.json", "W1-F512-K1.json", "README.md")
    }
    report = (out / "README.md").read_text()
    assert "CUDA graph, bfloat16: not available: RuntimeError: a CUDA graph needs a GPU" in report
    for heading in ("W1-F512-K1 forward", "W1-F512-K1 gradient", "W1-F512-K1 step"):
        assert f"## {heading}\n\n| contender |" in report
