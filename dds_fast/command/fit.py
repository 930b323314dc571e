"""``dds-fast fit``: a dictionary learned from isolated notes."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from dds_fast.choices import FIT_PRESETS, KINDS_LEARNED, SOURCES, TRAINING_PRECISIONS

FOLDER = ".fit"


def add(commands: Any) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "fit",
        help="learn a dictionary from isolated notes",
        description="Learn a dictionary from isolated notes. Log, pictures, report and checkpoint "
        "are kept in FILE's name with .fit; killed, the same command goes on where it was.",
    )
    parser.add_argument("notes", nargs="+", type=Path, metavar="NOTES", help="folder of notes")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="dictionary to write"
    )
    parser.add_argument(
        "--kind", choices=KINDS_LEARNED, default="dds2", help="of the dictionary, see the docs"
    )
    parser.add_argument(
        "--sources",
        choices=SOURCES,
        help="what tells the source of a file: the key in its name, the name itself (kick_01.wav), "
        "its folder, or both folder and key (default: key where most names hold one, else name)",
    )
    parser.add_argument(
        "--preset", choices=sorted(FIT_PRESETS), default="small", help="size of the flow"
    )
    parser.add_argument(
        "--max-epochs", type=int, metavar="N", help="most epochs (default: the preset's)"
    )
    parser.add_argument(
        "--learning-rate", type=float, metavar="A", help="of Adam (default: the preset's)"
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="frames per step, per source for dds2 (default: the preset's)",
    )
    parser.add_argument(
        "--precision",
        choices=TRAINING_PRECISIONS,
        help="of products (default: the preset's)",
    )
    parser.add_argument("--codes", type=int, metavar="M", help="codes per source (default: 40)")
    parser.add_argument(
        "--mixtures",
        type=int,
        metavar="N",
        help="mixtures of the notes on which the dictionary is calibrated (default: 40, none for "
        "drums and nmf; 0: none)",
    )
    parser.add_argument("--device", help="cpu, cuda (default: a GPU if there is one)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all that is drawn")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    return parser


def run(options: argparse.Namespace) -> int:
    from dds_fast.fit import fit
    from dds_fast.flows.training import checkpoint, ranks

    logging.getLogger("dds_fast.fit").setLevel(logging.INFO)
    folder = _checked(options.output, options.overwrite)
    dictionary = fit(
        options.notes,
        options.kind,
        sources=options.sources,
        preset=options.preset,
        max_epochs=options.max_epochs,
        learning_rate=options.learning_rate,
        batch_size=options.batch_size,
        precision=options.precision,
        n_codes=options.codes,
        n_mixtures=options.mixtures,
        device=options.device,
        random_state=options.seed,
        folder=folder,
        progress=True,
    )
    if ranks.is_first():
        dictionary.save(options.output, overwrite=options.overwrite)
        checkpoint.remove(folder)
        print(f"{dictionary} -> {options.output}")
        if "held_out" in dictionary.metadata:
            print(json.dumps(dictionary.metadata["held_out"], indent=1))
            print(f"Log, losses and the report on held-out recordings are in {folder}")
    return 0


def _checked(output: Path, overwrite: bool) -> Path:
    """The folder of a training whose result goes to `output`: both can be written.

    Raises:
        FileExistsError: the file exists and `overwrite` is false.
        OSError: the file or the folder cannot be.
        ValueError: the file would be the folder.
    """
    from dds_fast.files import probe

    if output.is_dir():
        raise IsADirectoryError(f"{output} is a folder: name a file, such as {output}.safetensors")
    if output.suffix.lower() == FOLDER:
        raise ValueError(
            f"{output} would be the folder of the training itself: take another suffix, such as "
            f"{output.with_suffix('.safetensors')}"
        )
    if output.exists() and not overwrite:
        raise FileExistsError(f"{output} exists; pass --overwrite to replace it")
    folder = output.with_suffix(FOLDER)
    if folder.exists():
        probe(folder)
    probe(output.parent)
    return folder
