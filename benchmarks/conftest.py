"""Options, rows beside those of pytest-benchmark, and the form in which all are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import store
from kernels.race import Race, Turn
from pytest_benchmark.fixture import BenchmarkFixture

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
    return config.option.quick or config.option.preset == "check"


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []
    if (file := config.getoption("benchmark_json", None)) is not None:
        try:
            store.permit(Path(file.name), config.option.trial or _tiny(config))
        except store.Refused as refusal:
            raise pytest.UsageError(str(refusal)) from None


Tell = Callable[[store.Record], None]
Refuse = Callable[[str, str, str], None]


@pytest.fixture(scope="session")
def tell(pytestconfig: pytest.Config) -> Tell:
    """Keep a row that pytest-benchmark does not measure."""
    return pytestconfig.stash[ROWS].append


@pytest.fixture(scope="session")
def refuse(tell: Tell) -> Refuse:
    """``refuse(group, contender, reason)``: record why a contender has no time, and skip."""

    def record(group: str, contender: str, reason: str) -> None:
        tell(store.refused(group, contender, reason))
        pytest.skip(reason)

    return record


@pytest.fixture
def take(benchmark: BenchmarkFixture, refuse: Refuse) -> Callable[[Race, Turn], None]:
    """Let a contender have its turn in a race."""
    return lambda race, turn: race.take(turn, benchmark, refuse)


def pytest_benchmark_update_json(
    config: pytest.Config, benchmarks: list[Any], output_json: dict[str, Any]
) -> None:
    """The JSON in the form of `store`, instead of pytest-benchmark's own."""
    about = {name: getattr(config.option, name) for name in ("suite", "preset")} | {
        "quick": _tiny(config)
    }
    option = config.option
    command = option.command or " ".join(("pytest", *config.invocation_params.args))
    taken: list[store.Record] = config.stash[ROWS]
    rows = store.pooled(output_json["benchmarks"], taken)
    run = store.provenance(option.device, command)
    output_json.clear()
    output_json |= store.rounded({"runs": [run], "about": about, "rows": rows})
