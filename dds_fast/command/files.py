"""Many recordings: planned before any work, decomposed into one folder each."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dds_fast.choices import AUDIO_SUFFIXES
from dds_fast.decompose import check, decompose
from dds_fast.decomposition import Decomposition
from dds_fast.dictionary import Dictionary
from dds_fast.files import check_case, probe
from dds_fast.locks import claimed
from dds_fast.results import (
    FILES,
    NOTHING_MORE,
    Wanted,
    check_finite,
    is_finished,
    write,
)

SMALL_GAIN = 6.0
"""Decibels; recordings that were raised by more are reported."""


@dataclass(frozen=True)
class Job:
    """One recording and the folder for its results."""

    path: Path
    folder: Path


def recordings(inputs: Sequence[Path], output: Path) -> list[tuple[Path, Path]]:
    """The files that inputs are, or hold at any depth, each with where its folder goes.

    What lies in `output`, or is hidden, is no recording.

    Raises:
        FileNotFoundError: an input does not exist, or is a folder without an audio file.
    """
    missing = [str(path) for path in inputs if not path.exists()]
    if missing:
        raise FileNotFoundError(f"no such file: {', '.join(missing)}")
    found = []
    for path in inputs:
        if not path.is_dir():
            found.append((path, output))
            continue
        below = [
            file
            for file in sorted(path.rglob("*"))
            if file.suffix.lower() in AUDIO_SUFFIXES
            and not file.name.startswith(".")
            and file.is_file()
            and output.resolve() not in file.resolve().parents
        ]
        if not below:
            raise FileNotFoundError(f"no audio file in {path}")
        found += [(file, output / file.parent.relative_to(path)) for file in below]
    return found


def plan(
    inputs: Sequence[Path],
    output: Path,
    wanted: Wanted = NOTHING_MORE,
    *,
    overwrite: bool = False,
    skip_existing: bool = False,
) -> list[Job]:
    """The recordings to decompose, checked before any work is done.

    Raises:
        FileNotFoundError: an input does not exist, or is a folder without an audio file.
        FileExistsError: results exist and neither option is given.
        OSError: there is something else in the place of a folder, or its name is too long.
        ValueError: two inputs have the same stem, hence the same folder.
    """
    taken: dict[Path, Path] = {}
    for path, below in recordings(inputs, output):
        folder = folder_of(path, below)
        if folder in taken:
            raise ValueError(f"{taken[folder]} and {path} would both be written to {folder}")
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(f"{folder} is a file: the results of {path} need a folder")
        taken[folder] = path
    jobs = [Job(path, folder) for folder, path in taken.items()]
    if skip_existing:
        return [job for job in jobs if not is_finished(job.folder, wanted.more)]
    names = (*FILES, *wanted.more)
    existing = [job.folder / name for job in jobs for name in names if (job.folder / name).exists()]
    if existing and not overwrite:
        raise FileExistsError(
            f"{existing[0]} exists; pass --overwrite to replace results or --skip-existing to keep "
            "them"
        )
    return jobs


def folder_of(path: Path, output: Path) -> Path:
    """Where the results of a recording go: below `output`, also those of a file named "...wav".

    Example:
        >>> [str(folder_of(Path(name), Path("out"))) for name in ("in/a.wav", "...wav")]
        ['out/a', 'out/__']
    """
    dots = path.stem in (".", "..")
    return output / ("_" * len(path.stem) if dots else path.stem)


def run(
    jobs: Sequence[Job],
    dictionary: Dictionary,
    wanted: Wanted = NOTHING_MORE,
    *,
    overwrite: bool = False,
    skip_existing: bool = False,
    **options: Any,
) -> int:
    """Decompose and write each recording; a bad one is reported and the rest goes on.

    Ctrl-C saves what was reached of the current recording and stops. Processes that run over the
    same recordings share them: each claims a recording for as long as it works on it.

    Args:
        jobs: from `plan`.
        dictionary: what to decompose into.
        wanted: what to write.
        overwrite: replace existing files.
        skip_existing: leave alone what another process has finished, or claimed, since `plan`;
            otherwise that is an error.
        **options: for `dds_fast.decompose`.

    Returns:
        Exit status: 0, 1 if a recording failed, 130 if interrupted.

    Raises:
        OSError: the folders cannot be made; before any work.
        ValueError: `wanted` or the options do not fit the dictionary; before any work.
        RuntimeError: no backend can run what is asked for; before any work.
        ValueError: two folders would be one, for the file system ignores case.
    """
    failures = 0
    wanted = wanted.checked(dictionary)
    check(dictionary, **options)
    for output in {job.folder.parent for job in jobs}:
        probe(output)
        check_case((job.folder for job in jobs if job.folder.parent == output), output)
    for number, job in enumerate(jobs, start=1):
        print(f"[{number}/{len(jobs)}] {job.path}", file=sys.stderr)
        try:
            with claimed(job.folder) as own:
                if skip_existing and (not own or is_finished(job.folder, wanted.more)):
                    print("left to another process" if not own else "done", file=sys.stderr)
                    continue
                if not own:
                    raise FileExistsError(f"another process is writing to {job.folder}")
                result = decompose(job.path, dictionary, progress=True, **options)
                assert isinstance(result, Decomposition)
                check_finite(result, job.path)
                title = job.path.stem
                notes = write(result, job.folder, wanted, title=title, overwrite=overwrite)
        except Exception as error:  # whatever it is, it is this recording's
            print(f"dds-fast: {str(error) or repr(error)}", file=sys.stderr)
            failures += 1
            continue
        print(
            f"{len(notes)} notes after {result.n_steps} steps ({result.stop_reason})"
            f"{_made_up_for(result)} -> {job.folder}",
            file=sys.stderr,
        )
        if result.stop_reason == "interrupted":
            return 130
    if failures:
        print(f"dds-fast: {failures} of {len(jobs)} recordings failed", file=sys.stderr)
    return 1 if failures else 0


def _made_up_for(result: Decomposition) -> str:
    """How a recording was changed before the search, where that is worth a word."""
    said = ""
    if result.tuning:
        said += f", tuned {result.tuning:+g} cents from A = 440 Hz"
    decibels = 20 * math.log10(result.gain)
    if decibels > SMALL_GAIN:
        said += f", raised by {decibels:.0f} dB"
    return said
