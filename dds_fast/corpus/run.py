"""A corpus from its inputs to its table: workers on Ray Data decompose, this process writes.

Rows come back to the one process that began the run, which alone writes the table: a worker that is
killed is started again and does its batch anew, and no row can come twice. At most two batches wait
at a worker, and rows are small, so memory does not grow with the corpus.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm

from dds_fast import scalars
from dds_fast.corpus import manifest
from dds_fast.corpus.planning import Plan, digest, plan, record_of
from dds_fast.corpus.table import FILES, NOTES, Table, needs_extra, schema
from dds_fast.corpus.worker import Worker
from dds_fast.decompose import resolve_dictionary
from dds_fast.dictionary import Dictionary
from dds_fast.notes.general_midi import Numbers, numbers

if TYPE_CHECKING:
    import pyarrow

BATCH_SECONDS = 30.0
"""Of sound; longer recordings are batches by themselves."""

BATCHES_PER_WORKER = 32
"""At least, where there is enough sound: then the last worker ends soon after the first."""

RETRIES = 3
"""Of a batch whose worker dies."""

_BAR = "{l_bar}{bar}| {n:.2f}/{total:.2f} h of sound [{elapsed}<{remaining}{postfix}]"


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        recordings: how many the inputs stand for.
        done: how many of them the table holds now.
        hours: of sound that this run decomposed.
        errors: what went wrong, by recording.

    Example:
        >>> Outcome(2, 1, 0.5, {"b.wav": "b.wav holds no samples"}).failed
        1
    """

    recordings: int
    done: int
    hours: float
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """How many recordings failed."""
        return len(self.errors)


def decompose(
    inputs: Iterable[str | Path],
    output: str | Path,
    dictionary: Dictionary | str | Path | None = None,
    *,
    address: str | None = None,
    workers: int | None = None,
    gpus: float = 0.0,
    files: bool = False,
    midi: Numbers | None = None,
    label_delay: float = 0.0,
    overwrite: bool = False,
    part_seconds: float = 60.0,
    progress: bool = False,
    **options: Any,
) -> Outcome:
    """Decompose many recordings, on this machine or a cluster, into a table; see docs/scale.md.

    What the table holds is not done again, what failed is tried again. Needs the extra ``ray``.

    Args:
        inputs: recordings, folders, globs and lists, see `dds_fast.corpus.manifest.find`; workers
            on other machines must see local paths too.
        output: folder of the table, which this process writes.
        dictionary: a `Dictionary`, the path of one, or None for the packaged piano.
        address: of a Ray cluster ("auto" for that of this machine); None starts Ray here, unless it
            runs in this process.
        workers: how many; by default one for each core, or as many as the GPUs hold. Each searches
            with one thread.
        gpus: that a worker takes, such as 0.25; 0 to compute on the CPU.
        files: also write the files of ``dds-fast decompose`` for each recording, below
            ``output/files``, which workers on other machines must see too.
        midi: of these files, and of drums in reference notes; see
            `dds_fast.notes.general_midi.numbers`.
        label_delay: seconds by which the sound comes after reference notes, for the PSA.
        overwrite: begin the table again.
        part_seconds: how often a part of the table is written, which is what is lost if this
            process is killed.
        progress: show a progress bar, in hours of sound.
        options: for `dds_fast.decompose`: preset, n_components, max_steps, tuning, precision, ...

    Returns:
        What became of it. Ctrl-C leaves in the table what was done.

    Raises:
        ImportError: the extra is not installed.
        FileNotFoundError: an input, or the dictionary, does not exist.
        ValueError: bad settings, or the table was made with others.
        FileExistsError: the folder holds something else, or another process writes to it.
        OSError: the table cannot be written, for instance on a full disk; what is in it stays.
        ConnectionError: no Ray cluster at the address.

    Example:
        >>> decompose(["archive/"], "notes_of_archive", workers=0)
        Traceback (most recent call last):
        ValueError: workers must be at least 1, not 0
    """
    gpus = scalars.not_negative("gpus", gpus)
    if workers is not None:
        workers = scalars.integer("workers", workers, 1)
    needs_extra()
    table, loaded = Table(output), resolve_dictionary(dictionary)
    midi = numbers(loaded.sources, midi)
    told = {"label_delay": scalars.real("label_delay", label_delay), **options}
    record = record_of(dictionary, **told)
    planned = plan(inputs, output, dictionary, workers=1, overwrite=overwrite, **told)
    lengths = dict(zip(planned.recordings, planned.lengths, strict=True))
    worker = {
        "dictionary": loaded,
        "hashed": digest(dictionary),
        "folder": table.folder.absolute() / FILES if files else None,
        "midi": midi,
        **told,
    }
    errors: dict[str, str] = {}
    seconds, n_done = 0.0, len(planned.done)
    with (
        table.opened(record, overwrite=overwrite, part_seconds=part_seconds) as writer,
        _ray(address, workers) if planned.left else nullcontext(),
        _bar(planned, progress) as bar,
    ):
        writer.forget(planned.failed)
        for rows in _rows(planned.left, lengths, worker, workers, gpus):
            writer.add(rows)
            for row in rows.drop_columns([NOTES]).to_pylist():
                n_done += 1
                seconds += row["seconds"] or 0.0
                if row["error"] is not None:
                    errors[row["recording"]] = row["error"]
                bar.update(_milliseconds(lengths[row["recording"]]))
            failed = f", {len(errors)} failed" if errors else ""
            bar.set_postfix_str(f"{n_done}/{len(lengths)} recordings{failed}")
    return Outcome(len(lengths), n_done - len(errors), seconds / 3600, errors)


def _milliseconds(seconds: float) -> int:
    """As whole numbers, whose sum is exact."""
    return round(1000 * seconds)


def _bar(planned: Plan, progress: bool) -> tqdm:
    total, left = (
        sum(map(_milliseconds, lengths)) for lengths in (planned.lengths, planned.left_lengths)
    )
    return tqdm(
        total=total,
        initial=total - left,
        disable=not progress,
        unit_scale=1 / 3_600_000,
        bar_format=_BAR,
        smoothing=0,  # of the whole run: recordings come in bursts
    )


@contextmanager
def _ray(address: str | None, workers: int | None) -> Iterator[None]:
    """Ray in this process: what runs, a cluster, or one of its own while the block lasts."""
    import ray

    if ray.is_initialized():
        yield
        return
    # Nothing is reported to anybody unasked, and what Ray says of itself is in its logs.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    ray.init(
        address or "local",
        num_cpus=workers if address is None else None,
        log_to_driver=False,
        logging_level=logging.WARNING,
    )
    try:
        yield
    finally:
        ray.shutdown()


def _rows(
    recordings: Sequence[str],
    lengths: Mapping[str, float],
    worker: dict[str, Any],
    workers: int | None,
    gpus: float,
) -> Iterator[pyarrow.Table]:
    """Rows of all recordings, in the order in which they are done.

    Those of a batch whose worker died again and again are tried one by one; one that then still
    takes its worker down has failed.
    """
    import pyarrow as pa

    if not recordings:
        return
    n_workers = workers or _room(gpus)
    total = sum(lengths[recording] for recording in recordings)
    longest = min(BATCH_SECONDS, total / (BATCHES_PER_WORKER * n_workers))
    left = dict.fromkeys(recordings)
    for together in (True, False):
        names = list(left)
        groups = manifest.batches(names, [lengths[name] for name in names], longest)
        if not together:
            groups = [[name] for name in names]
        # Alone, so that none is lost with the worker of another.
        in_flight = 2 if together else 1
        for rows in _searched(groups, worker, n_workers, gpus, in_flight) if groups else ():
            for recording in rows["recording"].to_pylist():
                del left[recording]
            yield rows
    if left:
        died = RuntimeError("its worker died, whenever it was tried: out of memory?")
        one = Worker(**worker)
        failed = [one.failed(recording, died) for recording in left]
        yield pa.Table.from_pylist(failed, schema(one.dictionary.sources))


def _room(gpus: float) -> int:
    """How many workers the cluster holds.

    Raises:
        ValueError: none.
    """
    import ray

    has = ray.cluster_resources()
    n_workers = int(has.get("GPU", 0) / gpus) if gpus else int(has.get("CPU", 0))
    if not n_workers:
        raise ValueError(f"no worker fits: each takes {gpus:g} GPUs and a core, there are {has}")
    return n_workers


def _searched(
    groups: Sequence[Sequence[str]],
    worker: dict[str, Any],
    n_workers: int,
    gpus: float,
    in_flight: int,
) -> Iterator[pyarrow.Table]:
    """Rows of all batches but those whose worker died `RETRIES` times and once more."""
    import pyarrow as pa
    import ray
    from ray.data import ActorPoolStrategy, from_arrow

    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):  # what it says is in its log
            handler.setLevel(logging.CRITICAL)
    dataset = from_arrow([pa.table({"recording": group}) for group in groups])
    dataset.context.max_errored_blocks = -1
    dataset.context.enable_progress_bars = False
    dataset.context.print_on_execution_start = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of max_task_retries, from 2.64 on
        found = dataset.map_batches(
            SingleThreaded,
            fn_constructor_kwargs=worker,
            batch_size=None,  # a block, which is a batch of ours
            batch_format="pyarrow",
            compute=ActorPoolStrategy(size=n_workers, max_tasks_in_flight_per_actor=in_flight),
            num_cpus=1,
            num_gpus=gpus or None,
            max_task_retries=RETRIES,
        )
    try:
        yield from found.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    except ray.exceptions.RayError as error:
        raise RuntimeError(f"the workers could not begin: {error}") from error


class SingleThreaded(Worker):
    """A worker that is a process of its own and leaves the other cores to others."""

    def __init__(self, **arguments: Any) -> None:
        torch.set_num_threads(1)
        super().__init__(**arguments)
