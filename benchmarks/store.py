"""One way to keep results: a JSON file with a line per row, and what the rows were measured on.

    {"runs": [{"command", "commit", "seed", "models", "machine", "versions"}], "about": ...,
     "rows": [...]}

A row names its run by number, unless that is the first. What was measured more than once is kept
as median and spread, which are the quartiles. A commit is that of all tracked files but results: a
tree with changes is refused, and its numbers may only go elsewhere, as a trial's.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cpuinfo
import numpy as np
import torch

import dds_fast
from dds_fast import _native
from dds_fast.files import writing

RESULTS = Path(__file__).parent / "results"
CHECKOUT = RESULTS.parents[1]
PACKAGED = Path(dds_fast.__file__).parent / "models" / "piano.safetensors"
DIGITS = 8

Record = dict[str, Any]


class Refused(ValueError):
    """Results may not be kept there."""


# ---- where it comes from -------------------------------------------------------------------------


def _git(*arguments: str) -> str | None:
    """What git says of the checkout; None where there is no repository."""
    command = ["git", "-C", str(CHECKOUT), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def changes() -> str | None:
    """Tracked files that differ from the commit, results aside; None outside a repository."""
    tracked = ("status", "--porcelain", "--untracked-files=no")
    return _git(*tracked, "--", ".", ":(exclude)benchmarks/results")


def permit(path: Path, trial: bool = False) -> None:
    """Do nothing if results may be written to `path`; to be asked before anything is measured.

    Raises:
        Refused: a trial would write into benchmarks/results; or it is none, and no commit says what
            is measured.
    """
    if trial:
        if path.resolve().is_relative_to(RESULTS):
            raise Refused(f"{path}: what a trial measures is not kept in {RESULTS}")
        return
    changed = changes()
    if changed is None:
        raise Refused("no commit to name in the results: not a git checkout; try --trial")
    if changed:
        raise Refused(
            f"results must name a commit, and {len(changed.splitlines())} tracked files differ "
            "from it: commit them, or measure with --trial (kept outside benchmarks/results)"
        )


def add_trial(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trial",
        action="store_true",
        help="measure a tree with changes; not into benchmarks/results",
    )


def typed() -> str:
    """The command as it was typed, without the places of folders."""
    return " ".join(("python", *(Path(w).name if w.startswith("/") else w for w in sys.argv)))


def parser(module: str, *places: str) -> argparse.ArgumentParser:
    """A study's: the first line of its docstring, folders that it needs, where its results go."""
    made = argparse.ArgumentParser(description=module.splitlines()[0])
    for name in places:
        made.add_argument(name, type=Path)
    made.add_argument("-o", "--output", type=Path, required=True)
    add_trial(made)
    return made


def provenance(
    device: str = "cpu",
    command: str | None = None,
    more: Iterable[str] = (),
    seed: int | Sequence[int] | None = 0,
) -> Record:
    """Command, commit, seed, models, machine and versions of what is measured now.

    The models are the packaged piano and those that the command line names, by their fingerprints.

    Args:
        device: where it is measured.
        command: by default the one that was `typed`.
        more: other distributions whose versions matter.
        seed: of all that is drawn; None where the rows name theirs.
    """
    run: Record = {"command": command or typed(), "commit": _git("rev-parse", "HEAD")}
    if seed is not None:
        run["seed"] = seed if isinstance(seed, int) else list(seed)
    named = (Path(word.rpartition("=")[2]) for word in sys.argv)
    files = [path for path in named if path.suffix == ".safetensors" and path.is_file()]
    run["models"] = {path.name: fingerprint(path) for path in (PACKAGED, *files)}
    if changes() != "":
        run["changed"] = True
    names = ("torch", "numpy", *more)
    return run | {
        "machine": machine(device),
        "versions": {
            "python": platform.python_version(),
            "dds_fast": dds_fast.__version__,
            **{name: importlib.metadata.version(name) for name in names},
        },
    }


@cache
def machine(device: str = "cpu") -> Record:
    """Processor, its cores, threads and instruction set; and the GPU, if that is the device."""
    found = {
        "cpu": cpuinfo.get_cpu_info()["brand_raw"],
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "level": _native.cpu().level(),
    }
    if torch.device(device).type != "cuda":
        return found
    properties = torch.cuda.get_device_properties(device)
    try:
        triton = importlib.metadata.version("triton")
    except importlib.metadata.PackageNotFoundError:
        triton = "not installed"
    return found | {
        "gpu": properties.name,
        "multiprocessors": properties.multi_processor_count,
        "gpu_memory": properties.total_memory,
        "cuda": torch.version.cuda,
        "triton": triton,
    }


def described(run: Record) -> str:
    """A run's machine, versions and commit in a line."""
    where, versions = run["machine"], run["versions"]
    gpu = ""
    if "gpu" in where:
        gpu = (
            f"{where['gpu']} ({where['multiprocessors']} multiprocessors, "
            f"{where['gpu_memory'] / 2**30:.0f} GiB), CUDA {where['cuda']}, "
            f"Triton {where['triton']}; "
        )
    state = ", with changes" if run.get("changed") else ""
    return (
        f"{gpu}{where['cpu']}, {where['threads']} threads, kernels at {where['level']}, "
        f"torch {versions['torch']}, Python {versions['python']}, "
        f"commit {str(run['commit'])[:7]}{state}"
    )


def fingerprint(what: Path | np.ndarray) -> str:
    """First half of the SHA-256 of a file, or of an array's bytes: which model made a row."""
    content = what.read_bytes() if isinstance(what, Path) else np.ascontiguousarray(what).tobytes()
    return hashlib.sha256(content).hexdigest()[:32]


# ---- files ---------------------------------------------------------------------------------------


def rounded(thing: Any) -> Any:
    """The same with `DIGITS` digits, and in types that JSON has."""
    if isinstance(thing, dict):
        return {str(key): rounded(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple | np.ndarray):
        return [rounded(value) for value in thing]
    if isinstance(thing, float | np.floating):
        return float(f"{thing:.{DIGITS}g}")
    return int(thing) if isinstance(thing, np.integer) else thing


def write(path: Path, record: Record) -> None:
    """A line for each element of a list, and for all else that the record holds."""

    def text(value: Any) -> str:
        if not isinstance(value, list):
            return json.dumps(value, ensure_ascii=False)
        return "[\n" + ",\n".join(json.dumps(v, ensure_ascii=False) for v in value) + "\n]"

    parts = (f"{json.dumps(key)}: {text(value)}" for key, value in rounded(record).items())
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path, overwrite=True) as temporary:
        temporary.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def read(path: Path) -> Record:
    return json.loads(path.read_text(encoding="utf-8"))


class Study:
    """Rows of a file, told apart by some of their fields; what is there is not measured again.

    Args:
        path: of the file; its rows are kept.
        keys: the fields.
        trial: see `permit`.
        about: of all rows.
        device, more, seed: see `provenance`.

    Raises:
        Refused: see `permit`.
    """

    def __init__(
        self,
        path: Path,
        keys: Sequence[str],
        *,
        trial: bool = False,
        about: Record | None = None,
        device: str = "cpu",
        more: Iterable[str] = (),
        seed: int | Sequence[int] | None = 0,
    ) -> None:
        permit(path, trial)
        self.path, self.keys = path, tuple(keys)
        self.record = read(path) if path.exists() else {"runs": [], "rows": []}
        if about is not None:
            self.record["about"] = about
        self.run = add_run(self.record, provenance(device, more=more, seed=seed))

    @property
    def rows(self) -> list[Record]:
        return self.record["rows"]

    def find(self, *key: Any) -> Record | None:
        """The row with these values of the keys."""
        wanted = rounded(key)
        return next((r for r in self.rows if [r[name] for name in self.keys] == wanted), None)

    def add(self, *key: Any, measure: Callable[[], Record]) -> Record:
        """The row; measured now, and written at once, unless it was before."""
        if (found := self.find(*key)) is not None:
            return found
        row = dict(zip(self.keys, key, strict=True)) | measure()
        if self.run:
            row["run"] = self.run
        self.rows.append(rounded(row))
        write(self.path, self.record)
        return self.rows[-1]


def lacking(record: Record) -> list[str]:
    """What the runs of a record do not say of "commit", "clean tree", "seed" and "models"."""
    runs, rows, about = record["runs"], record["rows"], record.get("about") or {}
    seeds = [about.get("seed"), about.get("random_state"), *(row.get("seed") for row in rows)]
    said = {
        "commit": all(run["commit"] for run in runs),
        "clean tree": all(run["commit"] and not run.get("changed") for run in runs),
        "seed": all("seed" in run for run in runs) or any(one is not None for one in seeds),
        "models": all("models" in run for run in runs)
        or (bool(rows) and all("model" in row for row in rows)),
    }
    return [name for name, there in said.items() if not there]


def add_run(record: Record, run: Record) -> int:
    """The number of a run in a record, which has it then; that of an equal one if there is."""
    if run not in record["runs"]:
        record["runs"].append(run)
    return record["runs"].index(run)


# ---- times, by contender and group ---------------------------------------------------------------


def timed(group: str, contender: str, samples: Sequence[float], info: Record) -> Record:
    """A contender's row.

    Of a sample that stands for more, ``outside`` of `info` are the seconds that are not repeated,
    ``repeated`` is by what the others are multiplied; ``calls`` is how many a sample has.
    """
    info = dict(info)
    outside, repeated = info.pop("outside", 0.0), info.pop("repeated", 1.0)
    calls = info.pop("calls", 1)
    seconds = [outside + (s / calls - outside) * repeated for s in samples]
    low, median, high = np.percentile(seconds, (25, 50, 75))
    return {
        "group": group,
        "contender": contender,
        "median": median,
        "spread": [low, high],
        "fastest": min(seconds),
        "n_samples": len(seconds),
        "info": info,
    }


def refused(group: str, contender: str, reason: str) -> Record:
    """The row of who has no time, and why."""
    return {"group": group, "contender": contender, "refusal": reason}


def pooled(benchmarks: Iterable[Record], others: Iterable[Record]) -> list[Record]:
    """Rows of what pytest-benchmark measured, then those of others.

    Samples with the same group, contender and info are turns of one; who was refused in a turn has
    no time.
    """
    others = list({json.dumps(row, default=str): row for row in others}.values())
    without = {(row["group"], row["contender"]) for row in others if "refusal" in row}
    turns: dict[tuple[str, str, str], tuple[Record, list[float]]] = {}
    for benchmark in benchmarks:
        info = dict(benchmark["extra_info"])
        of = benchmark["group"], info.pop("contender", None) or benchmark["name"]
        key = (*of, json.dumps(rounded(info), sort_keys=True))
        if of not in without:
            turns.setdefault(key, (info, []))[1].extend(benchmark["stats"]["data"])
    rows = [timed(*key[:2], samples, info) for key, (info, samples) in turns.items()]
    return rows + others


@dataclass(frozen=True)
class Row:
    """One contender in one group; `refusal` says why it has no time."""

    group: str
    contender: str
    seconds: float = float("nan")
    quartiles: tuple[float, float] = (float("nan"), float("nan"))
    fastest: float = float("nan")
    refusal: str | None = None
    info: Record = field(default_factory=dict)


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
            if row.contender == limit and "bytes" in row.info:
                return (row.info["bytes"] or 2 * row.info["multiply_adds"]) / row.seconds
        return None


def _row(row: Record) -> Row:
    if "refusal" in row:
        return Row(row["group"], row["contender"], refusal=row["refusal"])
    times = row["median"], tuple(row["spread"]), row["fastest"]
    return Row(row["group"], row["contender"], *times, info=row["info"])


def _order(path: Path) -> tuple[Any, ...]:
    """The machine first, then by name, numbers by their size."""
    parts = [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.stem)]
    return path.stem != "machine", parts


def load(folder: Path) -> Results:
    """Every finished job of the folder, in order."""
    groups: dict[str, list[Row]] = {}
    machines: dict[str, None] = {}
    about: Record = {}
    for path in sorted(folder.glob("*.json"), key=_order):
        record = read(path)
        about |= {k: v for k, v in record["about"].items() if k != "quick" or v}
        for row in map(_row, record["rows"]):
            groups.setdefault(row.group, []).append(row)
        machines |= dict.fromkeys(map(described, record["runs"]))
    return Results(groups, list(machines), about.get("quick", False), about.get("suite", "cpu"))
