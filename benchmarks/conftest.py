"""Options, rows beside those of pytest-benchmark, and the form in which all are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import store
import torch

ROWS = pytest.StashKey[list[store.Record]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="tiny sizes, one turn: does it work?")
    parser.addoption("--full", action="store_true", help="whole searches, nothing extrapolated")
    parser.addoption("--preset", default="full", help="sizes of table1; see complexity.py")
    parser.addoption("--suite", default="cpu", choices=("cpu", "gpu"), help="cases, contenders")
    parser.addoption("--device", default="cpu", help="where table1 and the suites are measured")
    parser.addoption("--point-seconds", type=float, default=0.2, help="about, per point of table1")
    parser.addoption("--data", help="folder of recordings to turn into notes")
    parser.addoption("--race-seconds", type=float, default=40.0, help="how long a race may take")
    parser.addoption("--trial", action="store_true", help="not for benchmarks/results")
    parser.addoption("--command", help="what the results name as their command")


def _tiny(config: pytest.Config) -> bool:
    return config.getoption("quick") or config.getoption("preset") == "check"


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []
    if (file := config.getoption("benchmark_json", None)) is not None:
        try:
            store.permit(Path(file.name), config.getoption("trial") or _tiny(config))
        except (ValueError, RuntimeError) as refusal:
            raise pytest.UsageError(str(refusal)) from None


@pytest.fixture(scope="session")
def quick(pytestconfig: pytest.Config) -> bool:
    return pytestconfig.getoption("quick")


@pytest.fixture(scope="session")
def device(pytestconfig: pytest.Config) -> torch.device:
    return torch.device(pytestconfig.getoption("device"))


@pytest.fixture(scope="session")
def tell(pytestconfig: pytest.Config) -> Callable[[store.Record], None]:
    """Keep a row that pytest-benchmark does not measure."""
    return pytestconfig.stash[ROWS].append


@pytest.fixture
def refuse(tell: Callable[[store.Record], None]) -> Callable[[str, str, str], None]:
    """``refuse(group, contender, reason)``: record why a contender has no time, and skip."""

    def record(group: str, contender: str, reason: str) -> None:
        tell(store.refused(group, contender, reason))
        pytest.skip(reason)

    return record


def pytest_benchmark_update_json(
    config: pytest.Config, benchmarks: list[Any], output_json: dict[str, Any]
) -> None:
    """The JSON in the form of `store`, instead of pytest-benchmark's own."""
    names = ("suite", "preset")
    about = {name: config.getoption(name) for name in names} | {"quick": _tiny(config)}
    command = config.getoption("command") or " ".join(("pytest", *config.invocation_params.args))
    rows = store.pooled(output_json["benchmarks"], config.stash[ROWS])
    run = store.provenance(config.getoption("device"), command)
    output_json.clear()
    output_json |= store.rounded({"runs": [run], "about": about, "rows": rows})
