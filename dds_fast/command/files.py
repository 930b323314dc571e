"""Many recordings: planned before any work, decomposed into one folder each."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dds_fast.decompose import decompose
from dds_fast.decomposition import Decomposition
from dds_fast.dictionary import Dictionary
from dds_fast.notes.found import write_midi, write_notes

ACTIVATIONS = "activations.npz"
ALWAYS_WRITTEN = (ACTIVATIONS, "notes.csv", "activations.png")
FILES = (*ALWAYS_WRITTEN, "notes.mid")
SMALL_GAIN = 6.0
"""Decibels; recordings that were raised by more are reported."""


@dataclass(frozen=True)
class Job:
    """One recording and the folder for its results."""

    path: Path
    folder: Path


def plan(
    inputs: Sequence[Path], output: Path, *, overwrite: bool = False, skip_existing: bool = False
) -> list[Job]:
    """The recordings to decompose, checked before any work is done.

    Raises:
        FileNotFoundError: an input does not exist.
        FileExistsError: results exist and neither option is given.
        ValueError: two inputs have the same stem, hence the same folder.
    """
    missing = [str(path) for path in inputs if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"no such file: {', '.join(missing)}")
    stems: dict[str, Path] = {}
    for path in inputs:
        if path.stem in stems:
            raise ValueError(
                f"{stems[path.stem]} and {path} would both be written to {output / path.stem}"
            )
        stems[path.stem] = path
    jobs = [Job(path, output / path.stem) for path in inputs]
    if skip_existing:
        return [job for job in jobs if not is_finished(job.folder)]
    existing = [job.folder / name for job in jobs for name in FILES if (job.folder / name).exists()]
    if existing and not overwrite:
        raise FileExistsError(
            f"{existing[0]} exists; pass --overwrite to replace results or --skip-existing to keep "
            "them"
        )
    return jobs


def is_finished(folder: Path) -> bool:
    """Whether a folder holds all results of a search that was not interrupted."""
    if not all((folder / name).is_file() for name in ALWAYS_WRITTEN):
        return False
    try:
        result = Decomposition.load(folder / ACTIVATIONS)
    except ValueError:
        return False
    midi = all(isinstance(source, int) for source in result.sources)
    if midi and not (folder / "notes.mid").is_file():
        return False
    return result.stop_reason != "interrupted"


def run(
    jobs: Sequence[Job], dictionary: Dictionary, *, overwrite: bool = False, **options: Any
) -> int:
    """Decompose and write each recording; a bad one is reported and the rest goes on.

    Ctrl-C saves what was reached of the current recording and stops.

    Args:
        jobs: from `plan`.
        dictionary: what to decompose into.
        overwrite: replace existing files.
        **options: for `dds_fast.decompose`.

    Returns:
        Exit status: 0, 1 if a recording failed, 130 if interrupted.
    """
    failures = 0
    for number, job in enumerate(jobs, start=1):
        print(f"[{number}/{len(jobs)}] {job.path}", file=sys.stderr)
        try:
            result = decompose(job.path, dictionary, progress=True, **options)
            assert isinstance(result, Decomposition)
            write(result, job.folder, title=job.path.stem, overwrite=overwrite)
        except (ValueError, OSError, MemoryError) as error:
            print(f"dds-fast: {error}", file=sys.stderr)
            failures += 1
            continue
        print(
            f"{len(result.notes())} notes after {result.n_steps} steps ({result.stop_reason})"
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


def write(result: Decomposition, folder: Path, *, title: str, overwrite: bool = False) -> None:
    """Write activations.npz, notes.csv, notes.mid and activations.png into a folder.

    Recordings whose sources are not MIDI numbers get no MIDI file.
    """
    from dds_fast.plots import save_figure

    # What an interruption left behind is not a result to protect.
    overwrite = overwrite or not is_finished(folder)
    result.save(folder / ACTIVATIONS, overwrite=overwrite)
    notes = result.notes()
    write_notes(folder / "notes.csv", notes, overwrite=overwrite)
    if all(isinstance(source, int) for source in result.sources):
        write_midi(folder / "notes.mid", notes, overwrite=overwrite)
    save_figure(result.plot(title=title), folder / "activations.png", overwrite=overwrite)
