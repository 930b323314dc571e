"""Corpora: two workers against one, two nodes against one, memory of few recordings and of many.

    python benchmarks corpus DATA -o benchmarks/results/corpus.json

DATA holds ``real`` and ``rand``: 60 recordings, all of the first, which last half a minute or less,
and chords of the second, which last two seconds. Every worker searches with one thread, as does
"one by one", `dds_fast.decompose` in this process; all must find the same notes. ``span_s`` is from
the first worker's beginning its first search to the last one's ending its last; ``whole_s`` has the
start of the workers too. Two processes with half of the recordings each, without Ray, tell what the
machine gives. Memory is that of links to the chords, by the preset "fast".
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import ray
import store
import torch
from pyarrow import parquet
from ray.cluster_utils import Cluster

import dds_fast
from dds_fast import corpus
from dds_fast.corpus.table import NOTES, Table

N = 60
WAITED = 0.25
"""Seconds between looks at the memory of processes."""


def chosen(data: Path) -> list[str]:
    real = sorted((data / "real").rglob("*.flac"))
    mixed = sorted((data / "rand").rglob("*.flac"))
    return [str(path) for path in [*real, *mixed[:: len(mixed) // (N - len(real))]][:N]]


def digest(notes: Iterable[tuple[Any, ...]]) -> str:
    """Of notes in any order: recording, start, end, source, velocity."""
    return hashlib.sha256(json.dumps(sorted(notes)).encode()).hexdigest()[:16]


def found(recordings: list[str]) -> tuple[float, float, list[Any]]:
    """Without Ray, in this process: when it began and ended, and the notes."""
    torch.set_num_threads(1)
    dictionary = dds_fast.load(dds_fast.PIANO)
    begun = time.time()
    notes = [
        (recording, note.start, note.end, note.source, note.velocity)
        for recording in recordings
        for note in dds_fast.decompose(recording, dictionary, keep_components=False).notes()
    ]
    return begun, time.time(), notes


def one_by_one(recordings: list[str], processes: int) -> store.Record:
    """By so many processes that know nothing of each other, each with as much sound."""
    parts = [recordings[index::processes] for index in range(processes)]
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        begun, ended, notes = zip(*pool.map(found, parts), strict=True)
    return {"span_s": max(ended) - min(begun), "notes": digest(itertools.chain(*notes))}


@contextmanager
def nodes(cpus: list[int]) -> Iterator[None]:
    """A cluster on this machine with so many cores on each of its nodes."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus[0]})
    for n in cpus[1:]:
        cluster.add_node(num_cpus=n)
    try:
        ray.init(cluster.address, log_to_driver=False)
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()


class Memory:
    """The peak of what this process and the workers hold, in MiB, while the block lasts."""

    def __enter__(self) -> Memory:
        self.driver = self.workers = 0.0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.done.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.done.wait(WAITED):
            self.driver = max(self.driver, _held(os.getpid()))
            workers = [
                _held(int(path.parent.name))
                for path in Path("/proc").glob("[0-9]*/cmdline")
                if _names_a_worker(path)
            ]
            self.workers = max(self.workers, *workers, 0.0)


def _names_a_worker(path: Path) -> bool:
    try:
        return b"SingleThreaded" in path.read_bytes()
    except OSError:
        return False


def _held(process: int) -> float:
    """Memory that is a process's own, without what it shares, such as Ray's object store."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    held = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Rss")}
    return int(held.get("RssAnon", 0)) / 1024


def searched(recordings: list[str], cpus: list[int], **options: Any) -> store.Record:
    """By a worker for each core of nodes with so many."""
    with tempfile.TemporaryDirectory() as folder, nodes(cpus), Memory() as memory:
        begun = time.perf_counter()
        done = corpus.decompose(recordings, folder, **options)
        whole = time.perf_counter() - begun
        assert done.failed == 0, done.errors
        table = Table(folder)
        rows = table.rows(["seconds", "searched_s", "ended"])
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
        columns = ["recording", "start", "end", "source", "velocity"]
        notes = [
            tuple(row.values())
            for path in table.parts(NOTES)
            for row in parquet.read_table(path, columns=columns).to_pylist()
        ]
    first = min(row["ended"] - timedelta(seconds=row["searched_s"]) for row in rows)
    return {
        "span_s": (max(row["ended"] for row in rows) - first).total_seconds(),
        "whole_s": whole,
        "searched_s": sum(row["searched_s"] for row in rows),
        "sound_s": sum(row["seconds"] for row in rows),
        "driver_mib": memory.driver,
        "worker_mib": memory.workers,
        "table_bytes": size,
        "notes": digest(notes),
    }


def repeated(recordings: list[str], n: int) -> store.Record:
    """Memory of n recordings, each of which is a link to one of a few."""
    with tempfile.TemporaryDirectory() as folder:
        links = [Path(folder) / f"{index}.flac" for index in range(n)]
        for index, link in enumerate(links):
            link.symlink_to(recordings[index % len(recordings)])
        return searched([str(link) for link in links], [2], preset="fast")


def main() -> None:
    parser = store.parser(__doc__, "data")
    parser.add_argument("--recordings", type=int, default=N, help="how many, for a trial")
    options = parser.parse_args()
    recordings = chosen(options.data)[: options.recordings]
    study = store.Study(
        options.output, ("what", "recordings"), trial=options.trial, more=("ray", "pyarrow")
    )
    n = len(recordings)
    ways: dict[str, Callable[[], store.Record]] = {
        "one by one": partial(one_by_one, recordings, 1),
        "2 processes": partial(one_by_one, recordings, 2),
        "1 worker": partial(searched, recordings, [1]),
        "2 workers": partial(searched, recordings, [2]),
        "2 nodes": partial(searched, recordings, [1, 1]),
    }
    rows = {what: study.add(what, n, measure=measure) for what, measure in ways.items()}
    assert len({row["notes"] for row in rows.values()}) == 1, "other notes than one by one"
    gain = rows["one by one"]["span_s"] / rows["2 processes"]["span_s"]
    print(f"two processes: {gain:.2f} times one by one's throughput")
    for what in ("2 workers", "2 nodes"):
        gain = rows["1 worker"]["span_s"] / rows[what]["span_s"]
        print(f"{what}: {gain:.2f} times one worker's throughput, the notes of one by one")
    chords = [recording for recording in recordings if "/rand/" in recording]
    for count in (n, 10 * n):
        row = study.add("memory", count, measure=partial(repeated, chords, count))
        print(f"{count}: driver {row['driver_mib']:.0f} MiB, worker {row['worker_mib']:.0f} MiB")
