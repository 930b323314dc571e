"""Where the packages that read sound are missing, all that needs no sound works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
BLOCKED = ("librosa", "soundfile", "mir_eval", "pretty_midi", "sklearn")
BLOCKER = f"""
import sys
from importlib.machinery import PathFinder

class Blocker(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            return None
        return super().find_spec(name, path, target)

sys.meta_path = [Blocker if finder is PathFinder else finder for finder in sys.meta_path]
"""


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter that lacks these packages, like all that it starts."""
    (folder / "sitecustomize.py").write_text(BLOCKER)
    path = os.pathsep.join([str(folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=CHECKOUT,
        env=environment | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


def test_the_packages_are_missing(tmp_path: Path) -> None:
    find = "from importlib.util import find_spec; import numpy; print("
    done = run(f"{find}[find_spec(name) for name in {BLOCKED!r}])", tmp_path)
    assert done.stdout.strip() == str([None] * len(BLOCKED)), done.stderr


DECOMPOSE = """
import numpy as np
import dds_fast
import dds_fast.cli, dds_fast.metrics, dds_fast.plots, dds_fast.export
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


def test_a_spectrogram_is_decomposed(tmp_path: Path) -> None:
    done = run(DECOMPOSE, tmp_path)
    assert done.stdout.split() == ["(2,", "9)", "3"], done.stderr


@pytest.mark.slow
def test_the_gpu_suite_runs(tmp_path: Path) -> None:
    """Without a GPU: what needs one is refused, with the reason, and the rest measured."""
    out = tmp_path / "out"
    arguments = ["bench", "gpu", "--quick", "--device", "cpu", "--out", str(out)]
    arguments += ["--only", "W1-F512-K1,W5-dds2"]
    done = run(f"import sys; from dds_fast.cli import main; sys.exit(main({arguments}))", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in out.iterdir()} == {
        *("machine.json", "W1-F512-K1.json", "W5-dds2.json", "README.md", "steps.svg")
    }
    report = (out / "README.md").read_text()
    assert "CUDA graph: not available: RuntimeError: a CUDA graph needs a GPU" in report
    for heading in ("W1-F512-K1 gradient", "W1-F512-K1 step", "W5-dds2 decompose"):
        assert f"## {heading}\n\n| contender |" in report
