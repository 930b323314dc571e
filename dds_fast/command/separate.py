"""``dds-fast separate``: a recording to stems that sum to it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dds_fast.choices import ALIGNMENTS, CONSTRAINTS, MIDDLE_C, STEMS_BY, SUBTYPES


def add(commands: Any) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "separate",
        help="a recording to stems that sum to it",
        description="Take a recording apart. OUT gets a folder of its name with a file per stem, "
        "of the recording's sampling rate, channels and kind of samples.",
    )
    parser.add_argument("input", type=Path, metavar="IN", help="audio file")
    parser.add_argument(
        "score", type=Path, nargs="?", help="score or note list; without it, by a dictionary"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder")
    parser.add_argument("--by", choices=STEMS_BY, default="hand", help="what makes a stem")
    parser.add_argument(
        "--split",
        type=int,
        default=MIDDLE_C,
        metavar="MIDI",
        help="lowest key of the right hand, a MIDI number",
    )
    parser.add_argument(
        "--groups",
        metavar="GROUPS",
        help="stems in place of --by: left=36-59,right=60-95, names of sources, or a JSON file",
    )
    parser.add_argument("--only", metavar="NAME", help="this stem, and the rest of the recording")
    parser.add_argument(
        "-d",
        "--dictionary",
        type=Path,
        help="dictionary file (default: the score's, else the packaged piano)",
    )
    files = parser.add_argument_group("files")
    files.add_argument(
        "--sr", type=float, metavar="HZ", help="sampling rate in Hz (default: the recording's)"
    )
    files.add_argument("--mono", action="store_true", help="average the channels")
    files.add_argument(
        "--subtype", choices=SUBTYPES, help="kind of samples (default: the recording's)"
    )
    files.add_argument("--page", action="store_true", help="a page to listen to, OUT/IN/page.html")
    files.add_argument("--overwrite", action="store_true", help="replace existing stems")
    score = parser.add_argument_group("with a score and no dictionary")
    score.add_argument(
        "--align",
        choices=ALIGNMENTS,
        nargs="?",
        const=ALIGNMENTS[0],
        help=f"warp the score to the recording first (default: {ALIGNMENTS[0]})",
    )
    score.add_argument("--constraints", choices=CONSTRAINTS, help="default: both")
    score.add_argument("--onset-templates", action="store_true", help="model attacks apart")
    parser.add_argument(
        "--max-steps",
        type=int,
        metavar="N",
        help="most update steps (default: the dictionary's, or 100 with a score)",
    )
    parser.add_argument("--device", help="cpu, cuda (default: a GPU if there is one)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all that is drawn")
    return parser


def run(options: argparse.Namespace) -> int:
    from dds_fast.audio.masks import REST
    from dds_fast.audio.stem_files import SUFFIXES, paths_of
    from dds_fast.command.files import folder_of
    from dds_fast.files import probe
    from dds_fast.notes import grouping
    from dds_fast.notes.score import load_labels
    from dds_fast.results import PAGE, check_finite
    from dds_fast.separate import decomposition, groups_of

    folder = folder_of(options.input, options.output)
    existing = sorted(p for suffix in set(SUFFIXES.values()) for p in folder.glob(f"*{suffix}"))
    existing += [folder / PAGE] * (folder / PAGE).exists()
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
    groups = None if options.groups is None else grouping.parse(options.groups)
    names: list[str] | None = None
    if groups is not None:
        names = list(groups)
    elif score is not None and options.by != "source":
        names = list(grouping.of_notes(score, options.by, split=options.split))
    if names is not None:
        paths_of(folder, names)
        if options.only is not None:
            grouping.check_only(options.only, names if groups is None else [*names, REST])
    probe(options.output)
    if existing:
        probe(folder)
    result = decomposition(
        options.input,
        score,
        options.dictionary,
        target_sr=options.sr,
        random_state=options.seed,
        device=options.device,
        progress=True,
        **given,
    )
    check_finite(result, options.input)
    if (fit := result.settings.get("fit")) is not None:
        print(f"the score fits by {fit:.2f}; right ones mostly by 0.3 or more", file=sys.stderr)
    stems = result.separate(
        groups_of(result, score, options.by, groups=groups, split=options.split),
        only=options.only,
        target_sr=options.sr,
        mono=options.mono,
    )
    # Stems that take the recording's own place would be written over what they are made of.
    if any(path.exists() and path.samefile(options.input) for path in stems.paths(folder)):
        raise FileExistsError(f"a stem would replace the recording, {options.input}")
    paths = stems.save(folder, overwrite=options.overwrite, subtype=options.subtype)
    if options.page:
        stems.to_html(folder / PAGE, overwrite=options.overwrite)
        paths.append(folder / PAGE)
    for path in paths:
        print(path)
    remove_stale(p for p in existing if p not in paths and not p.samefile(options.input))
    return 130 if result.stop_reason == "interrupted" else 0


def remove_stale(paths: Iterable[Path]) -> None:
    """Delete earlier stems, which would not sum to the recording with the new ones, and their page.

    Files that are not marked as such are somebody's own, and stay.
    """
    from dds_fast.audio.stem_files import is_stem
    from dds_fast.page import is_page

    for path in paths:
        if is_page(path) or is_stem(path):
            path.unlink()
        else:
            print(f"dds-fast: {path} is no stem of dds-fast and stays", file=sys.stderr)
