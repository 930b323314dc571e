"""Reads what the kernel benchmarks left in a folder."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One contender in one group; `refusal` says why it has no time."""

    group: str
    contender: str
    seconds: float = float("nan")
    quartiles: tuple[float, float] = (float("nan"), float("nan"))
    fastest: float = float("nan")
    refusal: str | None = None
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """All rows by group, and what they were measured on."""

    groups: dict[str, list[Row]]
    machines: list[str]
    quick: bool
    suite: str = "cpu"

    def seconds(self, group: str, contender: str) -> float | None:
        """A contender's median, None without one."""
        for row in self.groups.get(group, []):
            if row.contender == contender and row.refusal is None:
                return row.seconds
        return None

    def rate(self, group: str, limit: str) -> float | None:
        """A measured limit: bytes per second, or floating-point operations per second."""
        for row in self.groups.get(group, []):
            if row.info.get("limit") == limit:
                return (row.info["bytes"] or 2 * row.info["multiply_adds"]) / row.seconds
        return None


def _row(benchmark: dict[str, Any]) -> Row:
    info, stats = benchmark["extra_info"], benchmark["stats"]
    name = info.get("contender") or info.get("limit") or benchmark["name"]
    group = benchmark["group"] or benchmark["fullname"].split("::")[0]
    return Row(group, name, stats["median"], (stats["q1"], stats["q3"]), stats["min"], info=info)


def _machine(record: dict[str, Any]) -> str:
    machine, commit = record["machine_info"], record["commit_info"]
    cpu = machine.get("cpu", {})
    gpu = ""
    if "gpu" in machine:
        gpu = (
            f"{machine['gpu']} ({machine['multiprocessors']} multiprocessors, "
            f"{machine['gpu_memory'] / 2**30:.0f} GiB), CUDA {machine['cuda']}, "
            f"Triton {machine.get('triton', 'not installed')}; "
        )
    state = ", with changes" if commit.get("dirty") else ""
    return (
        f"{gpu}{cpu.get('brand_raw', machine['processor'])}, {machine.get('threads')} threads, "
        f"kernels at {machine.get('level')}, torch {machine.get('torch')}, "
        f"Python {machine['python_version']}, commit {str(commit.get('id'))[:7]}{state}"
    )


def _order(path: Path) -> tuple[Any, ...]:
    """The machine first, then by name, numbers by their size."""
    parts = [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.stem)]
    return path.stem != "machine", parts


def load(folder: Path) -> Results:
    """Every finished job of the folder, in order."""
    groups: dict[str, list[Row]] = {}
    machines: list[str] = []
    quick, suite = False, "cpu"
    for path in sorted(folder.glob("*.json"), key=_order):
        record = json.loads(path.read_text())
        quick = quick or record.get("quick", False)
        suite = record.get("suite", suite)
        rows = [_row(benchmark) for benchmark in record["benchmarks"]]
        rows += [
            Row(refused["group"], refused["contender"], refusal=refused["reason"])
            for refused in record.get("refused", [])
        ]
        for row in rows:
            groups.setdefault(row.group, []).append(row)
        if (machine := _machine(record)) not in machines:
            machines.append(machine)
    return Results(groups, machines, quick, suite)
