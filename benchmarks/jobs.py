"""Benchmarks as jobs: pytest processes whose JSON in a folder says what is finished."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import store

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Job:
    """One pytest process.

    Attributes:
        name: of the job, and of its JSON unless it has several cases.
        file: the tests, below benchmarks/.
        cases: whose tests are run; each gets a JSON of its own. By default the one of that name.
        selected: whether the cases are a choice among the tests of the file.
    """

    name: str
    file: str
    cases: tuple[str, ...] = ()
    selected: bool = True

    @property
    def workload(self) -> str:
        return self.name.split("-")[0]

    @property
    def parts(self) -> tuple[str, ...]:
        """The cases, each with its JSON."""
        return self.cases or (self.name,)

    def only(self, cases: Iterable[str]) -> Job:
        """The same for fewer cases."""
        return replace(self, cases=tuple(cases))

    def run(self, folder: Path, options: list[str]) -> bool:
        """Write the JSON of every case; whether it succeeded."""
        unfinished = folder / f"{self.name}.json.part"
        command = [sys.executable, "-m", "pytest", str(HERE / self.file), "-q", "-rs"]
        command += ["-p", "no:cacheprovider", "--rootdir", str(HERE.parent)]
        command += ["-c", str(HERE.parent / "pyproject.toml"), "--disable-warnings"]
        command += ["--benchmark-json", str(unfinished), "--command", store.typed(), *options]
        command += ["--benchmark-columns", "median,iqr,rounds"]
        if self.selected:
            command += ["-k", " or ".join(f"{case}-" for case in self.parts)]
        # Away from the checkout, whose own dds_fast/ need not hold compiled modules.
        with tempfile.TemporaryDirectory() as elsewhere:
            done = subprocess.run(command, cwd=elsewhere)
        if done.returncode != 0 or not unfinished.exists():
            unfinished.unlink(missing_ok=True)
            return False
        record = store.read(unfinished)
        for case in self.parts:
            own = [row for row in record["rows"] if row["group"].split(" ")[0] == case]
            rows = own if len(self.parts) > 1 else record["rows"]
            store.write(folder / f"{case}.json", record | {"rows": rows})
        unfinished.unlink()
        return True


def chosen(jobs: Iterable[Job], only: str | None) -> list[Job]:
    """The jobs of the workloads, jobs or cases named, comma-separated, and "machine".

    Raises:
        ValueError: an unknown name.
    """
    everything = list(jobs)
    if only is None:
        return everything
    wanted = set(only.split(","))
    known = {name for job in everything for name in (job.name, job.workload, *job.parts)}
    if unknown := sorted(wanted - known):
        raise ValueError(
            f"--only: unknown {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        )
    wanted.add("machine")
    selected = []
    for job in everything:
        if {job.name, job.workload} & wanted:
            selected.append(job)
        elif cases := [case for case in job.cases if case in wanted]:
            selected.append(job.only(cases))
    return selected


def run_all(
    jobs: Iterable[Job], folder: Path, options: list[str], minutes: float | None = None
) -> list[str]:
    """Run what has no JSON yet, beginning no job after so many minutes; names what is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = []
    start = time.monotonic()
    for job in jobs:
        left = [case for case in job.parts if not (folder / f"{case}.json").exists()]
        if not left:
            print(f"{job.name}: finished before", flush=True)
            continue
        if minutes is not None and time.monotonic() - start > 60 * minutes:
            print(f"{job.name}: left for the next run, {minutes:g} minutes are over", flush=True)
            missing.append(job.name)
            continue
        print(f"{job.name}: running", flush=True)
        if not job.only(left if job.cases else ()).run(folder, options):
            missing.append(job.name)
    return missing
