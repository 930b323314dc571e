"""``dds-fast bench``: where it runs, and that the harness works at tiny sizes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jobs
import numpy as np
import pytest
import store
import torch
from jobs import Job
from kernels import race, test_notes
from kernels.cases import GPU_CASES, Workload, n_weights
from kernels.peers import batched
from kernels.peers.search import device_starter, starter
from kernels.sounds import piano_like
from kernels.stages import Watch, total
from paper import scaling

from dds_fast.command import bench
from dds_fast.command.main import main
from dds_fast.search import Schedule

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
    monkeypatch.setattr(bench, "run", lambda o: seen.append((o.suite, o.arguments)) or 0)
    for options in ([], ["--out", "x", "--only", "NMF"], ["-h"], ["--model", "dds2=a", "dds3=b"]):
        assert main(["bench", "table2", *options]) == 0
        assert seen.pop() == ("table2", options)
    with pytest.raises(SystemExit):
        main(["bench", "table9"])


def run(suite: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """A suite in a new process, as the command starts it."""
    command = [sys.executable, str(CHECKOUT / "benchmarks"), suite, "--out", str(folder), *options]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    return subprocess.run(
        command, cwd=folder.parent, env=environment, capture_output=True, text=True
    )


def bench_cpu(folder: Path, only: str) -> subprocess.CompletedProcess[str]:
    return run("cpu", folder, "--quick", "--only", only)


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
        *("machine.json", "W2-60.json", "README.md")
    }
    record = json.loads((folder / "W2-60.json").read_text())
    contenders = [row["contender"] for row in record["rows"] if "refusal" not in row]
    assert contenders.count("dds_fast, cpu, float32") == 3
    assert contenders.count("PyTorch, loop over flows") == 3
    assert all(row["median"] > 0 for row in record["rows"] if "refusal" not in row)
    (run,) = record["runs"]
    assert run["machine"]["cpu"] and run["versions"]["torch"] == torch.__version__
    report = (folder / "README.md").read_text()
    assert "A quick run" in report
    for heading in ("machine limits", "W2-60 limits", "W2-60 forward", "W2-60 step"):
        assert f"## {heading}\n" in report
    assert bench_cpu(folder, "W2-60").stdout.count("finished before") == 2


@pytest.mark.slow
def test_quick_sound_to_notes(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    done = bench_cpu(folder, "W7-30s")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in folder.iterdir()} == {
        *("machine.json", "W7-30s.json", "README.md")
    }
    rows = json.loads((folder / "W7-30s.json").read_text())["rows"]
    info = {row["contender"]: row["info"] for row in rows if "refusal" not in row}
    assert {row["contender"] for row in rows if "refusal" in row} <= {"basic-pitch"}
    assert info["PyTorch, autograd"]["errors"]["history"] < 1e-4
    assert (
        info["dds_fast, float32"]["residual"] < info["dds_fast, preset fast, float32"]["residual"]
    )
    report = (folder / "README.md").read_text()
    assert "## W7-30s notes" in report and "## W7-30s stages" in report


def test_multiply_adds_of_a_search_are_those_of_its_stages() -> None:
    """Its start decodes, makes the numerator of the updates and explains once."""
    setting = test_notes.setting("W7-10s", True, False, None)
    settings = replace(setting.settings(), max_steps=3, fixed_updates=1)
    watch = Watch(setting.dictionary, settings, "float32")
    stages = watch.run(setting.wave)
    frozen = setting.dictionary.frozen(torch.float32, torch.device("cpu"))
    J, F = setting.dictionary.start_codes().flatten(0, 1).shape[0], frozen.n_features
    T = setting.spectrogram(setting.wave).shape[1]
    assert J > 2 * F  # hence no Gram matrix
    start = J * sum(n_weights(frozen)) + 2 * J * F * T
    assert stages["start: the codes decoded"].multiply_adds == {"float32": start}
    assert total(stages).total() == sum(
        stages[name].multiply_adds.total() for name in stages if not name.startswith("of it")
    )


def test_piano_like_begins_alike_whatever_its_length() -> None:
    short, long = piano_like(1.0), piano_like(2.0)
    assert len(long) == 2 * len(short)
    scale = short @ short / (short @ long[: len(short)])
    assert np.allclose(short[:4000], scale * long[:4000], atol=1e-6)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_suite_without_a_gpu(tmp_path: Path) -> None:
    done = run("gpu", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith("dds-fast: no GPU: torch")
    assert "--device cpu --quick" in done.stderr
    assert not list(tmp_path.iterdir())


def test_gpu_sizes_are_not_for_a_cpu(tmp_path: Path) -> None:
    done = run("gpu", tmp_path / "out", "--device", "cpu")
    assert done.returncode == 1
    assert done.stderr.startswith("dds-fast: --device cpu is for --quick")


class TestJobs:
    JOBS = (
        Job("machine", "test_limits.py", selected=False),
        Job("W1-F512", "test_flows.py", ("W1-F512-K1", "W1-F512-K20")),
        Job("W5", "test_decompose.py", ("W5-dds2",)),
    )

    @pytest.mark.parametrize(
        ("only", "parts"),
        [
            (None, ["machine", "W1-F512-K1", "W1-F512-K20", "W5-dds2"]),
            ("W1", ["machine", "W1-F512-K1", "W1-F512-K20"]),
            ("W1-F512", ["machine", "W1-F512-K1", "W1-F512-K20"]),
            ("W1-F512-K20,W5", ["machine", "W1-F512-K20", "W5-dds2"]),
        ],
    )
    def test_chosen(self, only: str | None, parts: list[str]) -> None:
        assert [part for job in jobs.chosen(self.JOBS, only) for part in job.parts] == parts

    def test_finished_cases_are_skipped_and_time_runs_out(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        ran = []

        def pretend(job: Job, folder: Path, options: list[str]) -> bool:
            ran.extend(job.parts)
            return True

        monkeypatch.setattr(Job, "run", pretend)
        for name in ("machine", "W1-F512-K1"):
            (tmp_path / f"{name}.json").touch()
        assert jobs.run_all(self.JOBS, tmp_path, []) == []
        assert ran == ["W1-F512-K20", "W5-dds2"]
        ran.clear()
        assert jobs.run_all(self.JOBS, tmp_path, [], minutes=-1) == ["W1-F512", "W5"]
        assert ran == []
        assert "left for the next run" in capsys.readouterr().out

    def test_a_process_leaves_a_json_per_case(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def write(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
            path = Path(command[command.index("--benchmark-json") + 1])
            rows = [{"group": f"{case} step", "n": i} for i, case in enumerate(job.cases)]
            path.write_text(json.dumps({"rows": rows, "about": {"suite": "gpu"}}))
            assert command[-1] == "W1-F512-K1- or W1-F512-K20-"
            return subprocess.CompletedProcess(command, 0)

        monkeypatch.setattr(subprocess, "run", write)
        job = self.JOBS[1]
        assert job.run(tmp_path, [])
        assert {path.name for path in tmp_path.iterdir()} == {f"{c}.json" for c in job.cases}
        first, second = (json.loads((tmp_path / f"{c}.json").read_text()) for c in job.cases)
        assert first["rows"] == [{"group": "W1-F512-K1 step", "n": 0}]
        assert second["rows"][0]["n"] == 1 and len(second["rows"]) == 1
        assert first["about"] == second["about"] == {"suite": "gpu"}


def test_a_race_tells_who_could_not_take_part() -> None:
    def unable() -> race.Racer:
        raise OSError("no compiler")

    def failing() -> Iterator[race.Calls]:
        yield race.again(lambda: 1 / 0)

    def counting() -> Iterator[race.Calls]:
        while True:
            yield race.again(lambda: calls.append(1))

    calls: list[int] = []
    builds = {
        "unable": unable,
        "failing": lambda: race.Racer(failing),
        "able": lambda: race.Racer(counting, {"passes": 1}),
    }
    told: list[tuple[str, ...]] = []
    made = race.Race(builds, 0.0, torch.device("cpu"))
    watches = {name: Stopwatch() for name in builds}
    for name, watch in watches.items():
        turn = race.Turn(("W1", "step"), 0, name)
        made.take(turn, watch, lambda *row: told.append(row))  # type: ignore[arg-type]
    assert told == [
        ("W1 step", "unable", "OSError: no compiler"),
        ("W1 step", "failing", "ZeroDivisionError: division by zero"),
    ]
    assert watches["able"].extra_info == {"contender": "able", "calls": 1, "passes": 1}
    assert len(calls) == race.SAMPLES_PER_TURN
    with pytest.raises(pytest.skip.Exception, match="the race is over"):
        made.take(turn._replace(number=1), watch, lambda *_: None)  # type: ignore[arg-type]


class Stopwatch:
    """pytest-benchmark's fixture, without a clock."""

    def __init__(self) -> None:
        self.extra_info: dict[str, Any] = {}

    def pedantic(self, target: Any, setup: Any, rounds: int) -> None:
        for _ in range(rounds):
            target(*setup()[0])


@pytest.mark.parametrize("case", ["W1-F512-K5", "W2-F512-R300", "W3-T300"])
def test_a_search_for_a_graph_takes_the_steps_of_the_plain_one(case: str) -> None:
    """What it captures on a GPU runs as it is on a CPU."""
    workload = Workload(case, GPU_CASES[case].tiny())
    decode, problem = batched.decoder(workload.frozen), workload.problem(workload.frozen)
    schedule = Schedule(step_size=1e-3, max_steps=100)
    plain = starter(decode, share_decode=False)(problem, schedule)
    plain.advance(5)
    graphed = device_starter(decode)(problem, schedule)
    graphed.advance(2)
    graphed.advance(3)
    assert len(graphed.controller.history) == 6
    assert graphed.controller.history[:5] == pytest.approx(plain.controller.history, rel=1e-5)
    torch.testing.assert_close(graphed.state().W, plain.state().W, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(graphed.state().H, plain.state().H, rtol=1e-4, atol=1e-5)


def bench_table1(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run("table1", folder, *options)


def test_table1_unknown_axis(tmp_path: Path) -> None:
    done = bench_table1(tmp_path / "out", "--only", "T,X")
    assert done.returncode == 1
    assert done.stderr.startswith("dds-fast: --only: unknown X; there are T, F, ")


def test_table1_presets_are_not_mixed(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "axis_T.json").write_text('{"about": {"preset": "quick"}}')
    done = bench_table1(tmp_path / "out", "--preset", "check")
    assert done.returncode == 1
    assert "was measured with --preset quick" in done.stderr


@pytest.mark.slow
def test_table1_check_is_complete_and_resumes(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    done = bench_table1(folder, "--preset", "check", "--only", "N")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in folder.iterdir()} == {
        *("axis_N.json", "README.md", "scaling_N.svg", "crossings.svg")
    }
    report = (folder / "README.md").read_text()
    assert "no slope here means anything" in report
    assert "| dictionary | DDS-3 | L M F² + S K F |" in report
    fits = scaling.fits(store.load(folder))
    assert all(fit.counted == fit.stated for fit in fits)
    assert {fit.backend for fit in fits} == {"reference", "cpu"}
    again = bench_table1(folder, "--preset", "check", "--only", "N")
    assert again.stdout.count("finished before") == 1
