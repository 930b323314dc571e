"""Options, facts about the machine, and contenders without a time, for all benchmarks."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
import torch
from kernels.devices import description

from dds_fast import _native

REFUSED = pytest.StashKey[list[dict[str, str]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="tiny sizes, one turn: does it work?")
    parser.addoption("--full", action="store_true", help="whole searches, nothing extrapolated")
    parser.addoption("--preset", default="full", help="sizes of table1; see complexity.py")
    parser.addoption("--suite", default="cpu", choices=("cpu", "gpu"), help="cases, contenders")
    parser.addoption("--device", default="cpu", help="where table1 and the suites are measured")
    parser.addoption("--point-seconds", type=float, default=0.2, help="about, per point of table1")
    parser.addoption("--data", help="folder of recordings to turn into notes")
    parser.addoption("--race-seconds", type=float, default=40.0, help="how long a race may take")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[REFUSED] = []


@pytest.fixture(scope="session")
def quick(pytestconfig: pytest.Config) -> bool:
    return pytestconfig.getoption("quick")


@pytest.fixture(scope="session")
def device(pytestconfig: pytest.Config) -> torch.device:
    return torch.device(pytestconfig.getoption("device"))


@pytest.fixture
def refuse(request: pytest.FixtureRequest) -> Any:
    """``refuse(group, contender, reason)``: record why a contender has no time, and skip."""

    def record(group: str, contender: str, reason: str) -> None:
        request.config.stash[REFUSED].append(
            {"group": group, "contender": contender, "reason": reason}
        )
        pytest.skip(reason)

    return record


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict) -> None:
    machine_info["torch"] = torch.__version__
    machine_info["threads"] = torch.get_num_threads()
    machine_info["level"] = _native.cpu().level()
    machine_info |= description(torch.device(config.getoption("device")))


def pytest_benchmark_update_commit_info(config: pytest.Config, commit_info: dict) -> None:
    """Of the checkout, wherever the run was started."""
    git = ["git", "-C", str(config.rootpath)]
    for key, command in (("id", ["rev-parse", "HEAD"]), ("dirty", ["status", "--porcelain"])):
        done = subprocess.run([*git, *command], capture_output=True, text=True)
        commit_info[key] = done.stdout.strip()
    commit_info["dirty"] = bool(commit_info["dirty"])


def pytest_benchmark_update_json(
    config: pytest.Config, benchmarks: list, output_json: dict
) -> None:
    output_json["command"] = " ".join(("pytest", *config.invocation_params.args))
    output_json["refused"] = config.stash[REFUSED]
    output_json["quick"] = config.getoption("quick") or config.getoption("preset") == "check"
    output_json["suite"] = config.getoption("suite")
    output_json["preset"] = config.getoption("preset")
