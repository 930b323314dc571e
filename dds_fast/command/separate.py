"""``dds-fast separate``: a recording to stems that sum to it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dds_fast.choices import CONSTRAINTS, MIDDLE_C, STEMS_BY

if TYPE_CHECKING:
    import numpy as np

MARK = "dds-fast separate"
"""By which stems are known, in their files."""
LONGEST = 200
"""Bytes of a stem's name."""


def add(commands: Any) -> argparse.ArgumentParser:
    parser = commands.add_parser("separate", help="a recording to stems that sum to it")
    parser.add_argument("input", type=Path, metavar="IN", help="audio file")
    parser.add_argument(
        "score", type=Path, nargs="?", help="MIDI file or note list; without it, by a dictionary"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    parser.add_argument("--by", choices=STEMS_BY, default="hand", help="what makes a stem")
    parser.add_argument(
        "--split",
        type=int,
        default=MIDDLE_C,
        metavar="MIDI",
        help="lowest key of the right hand",
    )
    parser.add_argument(
        "-d",
        "--dictionary",
        type=Path,
        help="dictionary file (default: the score's, else the packaged piano)",
    )
    score = parser.add_argument_group("with a score and no dictionary")
    score.add_argument("--align", action="store_true", help="warp the score to the recording first")
    score.add_argument("--constraints", choices=CONSTRAINTS, help="default: both")
    score.add_argument("--onset-templates", action="store_true", help="model attacks apart")
    parser.add_argument("--max-steps", type=int, metavar="N")
    parser.add_argument("--device", help="cpu, cuda (default: a GPU if there is one)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--overwrite", action="store_true", help="replace existing stems")
    return parser


def run(options: argparse.Namespace) -> int:
    from dds_fast.command.files import check_finite, folder_of
    from dds_fast.files import probe
    from dds_fast.notes import grouping
    from dds_fast.notes.score import load_labels
    from dds_fast.separate import decomposition, groups_of

    folder = folder_of(options.input, options.output)
    existing = sorted(folder.glob("*.wav"))
    if existing and not options.overwrite:
        raise FileExistsError(f"{existing[0]} exists; pass --overwrite to replace stems")
    informed = options.score is not None and options.dictionary is None
    of_score = {
        "align": options.align,
        "constraints": options.constraints,
        "onset_templates": options.onset_templates,
    }
    given = {name: value for name, value in of_score.items() if value}
    if given and not informed:
        flag = next(iter(given)).replace("_", "-")
        raise ValueError(f"--{flag} needs a score, and no dictionary")
    if options.max_steps is not None:
        given["n_steps" if informed else "max_steps"] = options.max_steps
    score = None if options.score is None else load_labels(options.score)
    probe(options.output)
    if score is not None:
        check_names(folder, grouping.of_notes(score, options.by, split=options.split))
    if existing:
        probe(folder)
    result = decomposition(
        options.input,
        score,
        options.dictionary,
        random_state=options.seed,
        device=options.device,
        progress=True,
        **given,
    )
    check_finite(result, options.input)
    groups = groups_of(result, score, options.by, split=options.split)
    check_names(folder, groups)
    paths = write(folder, result.stems(groups), result.config.sr, overwrite=options.overwrite)
    for path in paths:
        print(path)
    remove_stale(p for p in existing if p not in paths and not p.samefile(options.input))
    return 130 if result.stop_reason == "interrupted" else 0


def remove_stale(paths: Iterable[Path]) -> None:
    """Delete earlier stems, which would not sum to the recording with the new ones.

    Files that `write` has not marked are somebody's recordings, and stay.
    """
    import soundfile

    for path in paths:
        try:
            with soundfile.SoundFile(path) as file:
                own = file.software.startswith(MARK)
        except soundfile.LibsndfileError:
            own = False
        if own:
            path.unlink()
        else:
            print(f"dds-fast: {path} is no stem of dds-fast and stays", file=sys.stderr)


def write(
    folder: Path, stems: Iterable[tuple[str, np.ndarray]], sr: int, *, overwrite: bool = False
) -> list[Path]:
    """Write stems as ``<name>.wav`` in 32-bit float, one after the other.

    Returns:
        Their paths.

    Raises:
        FileExistsError: a file exists and `overwrite` is false.
        ValueError: two stems would have the same file.
    """
    import soundfile

    from dds_fast.files import writing

    written: dict[Path, str] = {}
    for name, stem in stems:
        path = _new_path(folder, name, written)
        with (
            writing(path, overwrite) as temporary,
            soundfile.SoundFile(temporary, "w", sr, 1, "FLOAT", format="WAV") as file,
        ):
            file.software = MARK
            file.write(stem)
    return list(written)


def check_names(folder: Path, names: Iterable[str]) -> None:
    """Whether each stem has a file of its own.

    Raises:
        ValueError: two would have the same.
    """
    from dds_fast.files import check_case

    taken: dict[Path, str] = {}
    for name in names:
        _new_path(folder, name, taken)
    check_case(taken, folder.parent)


def _new_path(folder: Path, name: str, taken: dict[Path, str]) -> Path:
    path = folder / f"{file_name(name)}.wav"
    if path in taken:
        raise ValueError(f"the stems {taken[path]!r} and {name!r} would both be {path}")
    taken[path] = name
    return path


def file_name(name: str) -> str:
    """A stem's name without what a file name cannot hold, and no longer than one may be.

    Example:
        >>> file_name("Piano: r/h"), file_name("C♯4")
        ('Piano_ r_h', 'C♯4')
    """
    legal = "".join("_" if c in '/\\:*?"<>|' or ord(c) < 32 else c for c in name) or "_"
    return legal.encode(errors="replace")[:LONGEST].decode(errors="ignore")
