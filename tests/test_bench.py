"""``dds-fast bench``: where it runs, and that the harness works at tiny sizes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dds_fast import bench
from dds_fast.cli import main

CHECKOUT = Path(__file__).parents[1]


def test_outside_a_checkout_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "PACKAGE", tmp_path / "dds_fast")
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "cpu"]) == 1
    assert capsys.readouterr().err.startswith("dds-fast: bench runs from a checkout")
    assert not list(tmp_path.iterdir())


def test_without_the_extra_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(CHECKOUT)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["bench", "cpu"]) == 1
    assert "pip install '.[bench]'" in capsys.readouterr().err


def test_what_follows_the_suite_is_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []
    monkeypatch.setattr(bench, "run", lambda *given: seen.append(given) or 0)
    for options in ([], ["--out", "x", "--only", "NMF"], ["-h"], ["--model", "dds2=a", "dds3=b"]):
        assert main(["bench", "table2", *options]) == 0
        assert seen.pop() == ("table2", options)
    with pytest.raises(SystemExit):
        main(["bench", "table9"])


def bench_cpu(folder: Path, only: str) -> subprocess.CompletedProcess[str]:
    """The suite in a new process, as the command starts it."""
    script = CHECKOUT / "benchmarks" / "cpu.py"
    command = [sys.executable, str(script), "--quick", "--out", str(folder), "--only", only]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    return subprocess.run(
        command, cwd=folder.parent, env=environment, capture_output=True, text=True
    )


def test_unknown_workload(tmp_path: Path) -> None:
    done = bench_cpu(tmp_path / "out", "W1,W9")
    assert done.returncode == 1
    assert done.stderr.startswith("dds-fast: --only: unknown W9; there are W1, ")


@pytest.mark.slow
def test_quick_run_is_complete_and_resumes(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    done = bench_cpu(folder, "W2-60")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in folder.iterdir()} == {
        *("machine.json", "W2-60.json", "README.md", "steps.svg")
    }
    record = json.loads((folder / "W2-60.json").read_text())
    contenders = [row["extra_info"].get("contender") for row in record["benchmarks"]]
    assert contenders.count("dds_fast, cpu, float32") == 3
    assert contenders.count("PyTorch, loop over flows") == 3
    for row in record["benchmarks"]:
        assert row["stats"]["median"] > 0
    report = (folder / "README.md").read_text()
    assert "A quick run" in report
    for heading in ("machine limits", "W2-60 limits", "W2-60 forward", "W2-60 step"):
        assert f"## {heading}\n" in report
    assert bench_cpu(folder, "W2-60").stdout.count("finished before") == 2


def bench_table1(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    script = CHECKOUT / "benchmarks" / "table1.py"
    command = [sys.executable, str(script), "--out", str(folder), *options]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    return subprocess.run(
        command, cwd=folder.parent, env=environment, capture_output=True, text=True
    )


def test_table1_unknown_axis(tmp_path: Path) -> None:
    done = bench_table1(tmp_path / "out", "--only", "T,X")
    assert done.returncode == 1
    assert done.stderr.startswith("dds-fast: --only: unknown X; there are T, F, ")


def test_table1_presets_are_not_mixed(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "axis_T.json").write_text('{"preset": "quick"}')
    done = bench_table1(tmp_path / "out", "--preset", "check")
    assert done.returncode == 1
    assert "was measured with --preset quick" in done.stderr


@pytest.mark.slow
def test_table1_check_is_complete_and_resumes(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    done = bench_table1(folder, "--preset", "check", "--only", "N")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in folder.iterdir()} == {
        *("axis_N.json", "README.md", "tables", "scaling_N.svg", "crossings.svg")
    }
    report = (folder / "README.md").read_text()
    assert "no slope here means anything" in report
    assert "| dictionary | DDS-3 | L M F² + S K F |" in report
    fits = json.loads((folder / "tables" / "exponents.json").read_text())["fits"]
    assert all(fit["counted"] == fit["printed"] for fit in fits)
    assert {fit["backend"] for fit in fits} == {"reference", "cpu"}
    again = bench_table1(folder, "--preset", "check", "--only", "N")
    assert again.stdout.count("finished before") == 1
