"""Benchmarks as jobs: one pytest process each, whose JSON in a folder says that it is finished."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Job:
    """One pytest process: a file, or the tests of a case in it."""

    name: str
    file: str
    selected: bool = True

    @property
    def workload(self) -> str:
        return self.name.split("-")[0]

    def run(self, folder: Path, options: list[str]) -> bool:
        """Write the job's JSON; whether it succeeded."""
        unfinished = folder / f"{self.name}.json.part"
        command = [sys.executable, "-m", "pytest", str(HERE / self.file), "-q", "-rs"]
        command += ["-p", "no:cacheprovider", "--rootdir", str(HERE.parent)]
        command += ["-c", str(HERE.parent / "pyproject.toml")]
        command += ["--benchmark-json", str(unfinished), *options]
        command += ["--benchmark-columns", "median,iqr,rounds"]
        if self.selected:
            command += ["-k", f"{self.name}-"]
        # Away from the checkout, whose own dds_fast/ need not hold compiled modules.
        with tempfile.TemporaryDirectory() as elsewhere:
            done = subprocess.run(command, cwd=elsewhere)
        if done.returncode != 0 or not unfinished.exists():
            unfinished.unlink(missing_ok=True)
            return False
        unfinished.rename(folder / f"{self.name}.json")
        return True


def run_all(jobs: Iterable[Job], folder: Path, options: list[str]) -> list[str]:
    """Run the jobs that have no JSON yet; the names of those that failed."""
    folder.mkdir(parents=True, exist_ok=True)
    failed = []
    for job in jobs:
        if (folder / f"{job.name}.json").exists():
            print(f"{job.name}: finished before", flush=True)
            continue
        print(f"{job.name}: running", flush=True)
        if not job.run(folder, options):
            failed.append(job.name)
    return failed
