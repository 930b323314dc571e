"""What a corpus will cost, from the headers of its recordings alone; and what makes its table."""

from __future__ import annotations

import hashlib
import inspect
import os
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dds_fast.corpus import manifest
from dds_fast.corpus.table import Table, needs_extra
from dds_fast.decompose import decompose, resolve_dictionary, resolve_settings
from dds_fast.dictionary import PIANO, Dictionary

PER_RECORDING = 0.25
"""Core-seconds that a recording takes beside those of its sound; see docs/scale.md."""

PER_SECOND = 0.31
"""Core-seconds that a second of sound takes."""

NOTE_BYTES = 300_000
"""Of the table, for an hour of sound."""

FILE_BYTES = 90_000_000
"""Of the files of each recording, for an hour of sound."""

_SETTINGS = ("n_components", "max_steps", "step_size", "penalty", "sparsity")
_ELSEWHERE = ("sr", "callback", "progress", "keep_components")
"""Of what `dds_fast.decompose` takes, that which a corpus sees to itself."""


@dataclass(frozen=True)
class Plan:
    """What is to be done, and what it will cost.

    Attributes:
        recordings: those that the inputs stand for.
        lengths: of each, in seconds, by its header; 0 where that cannot be read.
        done: which of them the table holds.
        failed: which of them failed before, and are tried again.
        workers: how many are reckoned with.
        pace: of this machine's cores: by what the times of docs/scale.md are multiplied, as
            measured on what the table holds.
        hourly_bytes: of the table and the files of an hour of sound.

    Example:
        >>> plan = Plan(("a.wav", "b.wav"), (3600.0, 0.0), frozenset(), frozenset(), 2, 1.0, 10**6)
        >>> print(plan)
        2 recordings, 1.0 hours of sound; 2 to decompose, 1 without a readable header
        about 0.2 hours by 2 workers, 1.0 MB
    """

    recordings: tuple[str, ...]
    lengths: tuple[float, ...]
    done: frozenset[str]
    failed: frozenset[str]
    workers: int
    pace: float
    hourly_bytes: int

    @property
    def left(self) -> list[str]:
        """The recordings to decompose."""
        return [recording for recording in self.recordings if recording not in self.done]

    @property
    def left_lengths(self) -> list[float]:
        """Of these, in seconds."""
        named = zip(self.recordings, self.lengths, strict=True)
        return [length for recording, length in named if recording not in self.done]

    @property
    def hours(self) -> float:
        """Of sound, in all."""
        return sum(self.lengths) / 3600

    @property
    def expected_hours(self) -> float:
        """That the workers will take."""
        return self.pace * sum(map(cost, self.left_lengths)) / self.workers / 3600

    @property
    def expected_bytes(self) -> float:
        """That the table and the files will grow by."""
        return self.hourly_bytes * sum(self.left_lengths) / 3600

    def __str__(self) -> str:
        unread = self.lengths.count(0)
        said = [
            f"{len(self.recordings)} recordings, {self.hours:.1f} hours of sound; "
            f"{len(self.left)} to decompose"
            + (f", of which {len(self.failed)} failed before" if self.failed else "")
            + (f", {unread} without a readable header" if unread else ""),
            f"about {self.expected_hours:.1f} hours by {self.workers} workers, "
            f"{self.expected_bytes / 1e6:.1f} MB",
        ]
        return "\n".join(said)


def plan(
    inputs: Iterable[str | Path],
    output: str | Path,
    dictionary: Dictionary | str | Path | None = None,
    *,
    workers: int | None = None,
    files: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> Plan:
    """What `dds_fast.corpus.decompose` would do; nothing is written, no sound is read.

    Args:
        inputs: see `dds_fast.corpus.manifest.find`.
        output, dictionary, files, overwrite, options: as of `dds_fast.corpus.decompose`.
        workers: how many there will be; by default one for each core of this machine.

    Raises:
        FileNotFoundError, ValueError, FileExistsError: as of `dds_fast.corpus.decompose`.

    Example:
        >>> import numpy as np
        >>> import soundfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     soundfile.write(f"{folder}/a.wav", np.zeros(8000), 8000)
        ...     planned = plan([folder], f"{folder}/out", workers=1)
        >>> planned.hours * 3600, planned.left == list(planned.recordings)
        (1.0, True)
    """
    recordings = manifest.find(inputs)
    lengths = manifest.seconds(recordings)
    table = Table(output)
    done: set[str] = set()
    failed: set[str] = set()
    pace = 1.0
    record = record_of(dictionary, **options)
    if table.record() is not None and not (overwrite and table.record() != record):
        table.check(record)
        needs_extra()
        rows = table.rows(["recording", "seconds", "searched_s", "error"])
        wanted = set(recordings)
        failed = {row["recording"] for row in rows if row["error"] is not None} & wanted
        done = {row["recording"] for row in rows if row["error"] is None} & wanted
        good = [row for row in rows if row["error"] is None]
        expected = sum(cost(row["seconds"]) for row in good)
        pace = sum(row["searched_s"] for row in good) / expected if expected else 1.0
    return Plan(
        tuple(recordings),
        tuple(lengths),
        frozenset(done),
        frozenset(failed),
        workers or os.cpu_count() or 1,
        pace,
        NOTE_BYTES + files * FILE_BYTES,
    )


def cost(seconds: float) -> float:
    """Core-seconds that a recording takes.

    Example:
        >>> cost(0.0) == PER_RECORDING
        True
    """
    return PER_RECORDING + PER_SECOND * seconds


def record_of(
    dictionary: Dictionary | str | Path | None = None,
    *,
    label_delay: float = 0.0,
    preset: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """What notes depend on, as a table keeps it: the dictionary's hash, and all settings.

    Args:
        dictionary: see `digest`.
        label_delay: see `dds_fast.corpus.decompose`.
        preset, options: of `dds_fast.decompose`. Where it computes makes no difference.

    Raises:
        TypeError: an option that a corpus has not.
        ValueError: a bad setting.

    Example:
        >>> record = record_of(max_steps=3)
        >>> record["settings"]["max_steps"], record["precision"], len(record["dictionary"])
        (3, 'float32', 64)
    """
    told = inspect.signature(decompose).parameters
    if unknown := [name for name in options if name not in told or name in _ELSEWHERE]:
        raise TypeError(f"a corpus has no option {unknown[0]!r}")
    settings = resolve_settings(
        resolve_dictionary(dictionary), preset, **{name: options.get(name) for name in _SETTINGS}
    )
    others = ("likelihood", "precision", "random_state", "tuning")
    return {
        "dictionary": digest(dictionary),
        "settings": asdict(settings),
        **{name: options.get(name, told[name].default) for name in others},
        "label_delay": label_delay,
    }


def digest(dictionary: Dictionary | str | Path | None) -> str:
    """SHA-256 of a dictionary's file; of a `Dictionary`, of the file that it would be saved to."""
    if not isinstance(dictionary, Dictionary):
        return hashlib.sha256(Path(dictionary or PIANO).read_bytes()).hexdigest()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dictionary.safetensors"
        dictionary.save(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()
