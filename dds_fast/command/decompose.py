"""``dds-fast decompose``: recordings to notes, MIDI and pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dds_fast.choices import LIKELIHOODS, NOTE_FORMATS, PRECISIONS, PRESETS

FURTHER = tuple(kind for kind in NOTE_FORMATS if kind not in ("csv", "mid", "wav"))


def add(commands: Any) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "decompose",
        help="recordings to notes, MIDI and pictures",
        description="Find the notes in recordings. For each, OUT gets a folder of its name with "
        "notes.csv, notes.mid, activations.png and activations.npz.",
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        type=Path,
        metavar="IN",
        help="audio file, or folder: all audio files below it, whose folders OUT gets too",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder")
    add_search(parser)
    _add_notes(parser)
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace existing results")
    existing.add_argument(
        "--skip-existing",
        action="store_true",
        help="leave finished recordings alone, and those that another process works on",
    )
    return parser


def add_search(parser: argparse.ArgumentParser) -> None:
    """The options of a search, which `search_options` reads."""
    parser.add_argument(
        *("-d", "--dictionary"),
        type=Path,
        metavar="FILE",
        help="dictionary file (default: the packaged piano)",
    )
    search = parser.add_argument_group(
        "search", "The defaults of its numbers are the dictionary's: dds-fast inspect shows them."
    )
    search.add_argument(
        "--components", type=int, metavar="K", help="entries per source (default: the dictionary's)"
    )
    search.add_argument(
        "--max-steps", type=int, metavar="N", help="most update steps (default: likewise)"
    )
    search.add_argument(
        "--step-size",
        type=float,
        metavar="A",
        help="initial step size of Adam (default: likewise)",
    )
    search.add_argument(
        "--penalty",
        type=float,
        metavar="W",
        help="weight of the likelihood penalty (default: likewise)",
    )
    search.add_argument(
        "--sparsity",
        type=float,
        metavar="W",
        help="weight of the activations' l1 norm (default: likewise)",
    )
    search.add_argument(
        "--likelihood", choices=LIKELIHOODS, default="latent", help="of codes, or of spectra"
    )
    search.add_argument(
        "--preset",
        choices=PRESETS,
        help="fewer update steps, or the paper's settings (default: the dictionary's own)",
    )
    parser.add_argument(
        "--tuning",
        type=_tuning,
        metavar="CENTS",
        help="by how many cents the recording's A lies above 440 Hz (432 Hz: -31.8), or auto to "
        "estimate it (default: 0)",
    )
    search.add_argument("--device", help="cpu, cuda (default: a GPU if there is one)")
    search.add_argument("--precision", choices=PRECISIONS, default="float32", help="of the search")
    search.add_argument(
        "--backend", default="auto", metavar="NAME", help="auto or one that info -v shows"
    )
    search.add_argument("--seed", type=int, default=0, metavar="N", help="of all that is drawn")


def _add_notes(parser: argparse.ArgumentParser) -> None:
    notes = parser.add_argument_group("notes")
    notes.add_argument(
        "--sensitivity",
        type=float,
        default=0.0,
        metavar="LOGITS",
        help="of a calibrated dictionary: above 0 more notes are found, below 0 fewer, in log odds",
    )
    notes.add_argument(
        "--formats",
        type=_formats,
        default=(),
        metavar="FORMAT,...",
        help="write the notes as "
        + ", ".join(f"{kind} ({NOTE_FORMATS[kind]})" for kind in FURTHER)
        + " too (default: CSV and MIDI alone)",
    )
    notes.add_argument(
        "--sonify",
        action="store_true",
        help="write notes.wav: the recording on the left, its notes on the right",
    )
    notes.add_argument(
        "--tempo",
        type=float,
        default=120.0,
        metavar="BPM",
        help="of notes.mid, in beats per minute; notes keep their times",
    )
    notes.add_argument(
        "--program",
        default="0",
        metavar="NUMBER",
        help="instrument of notes.mid where sources have no names: General MIDI number from 0, or "
        "its name",
    )
    notes.add_argument(
        "--page",
        action="store_true",
        help="write page.html, to listen to the stems of both hands, "
        "or of each instrument, and see the notes",
    )
    add_midi(notes)


def add_midi(parser: Any) -> None:
    """The option `general_midi.read` reads."""
    parser.add_argument(
        "--midi",
        metavar="NAME=NUMBER,...",
        help="drum notes and programs of named sources in notes.mid, by number or General MIDI "
        "name; or a JSON file of them",
    )


def _tuning(text: str) -> float | str:
    return text if text == "auto" else float(text)


def _formats(text: str) -> tuple[str, ...]:
    kinds = tuple(kind.strip().lower().removeprefix(".") for kind in text.split(",") if kind)
    if unknown := [kind for kind in kinds if kind not in FURTHER]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(FURTHER)}")
    return kinds


def search_options(options: argparse.Namespace) -> dict[str, Any]:
    """The options of `add_search`, the dictionary aside, by the names that functions have."""
    return {
        "n_components": options.components,
        "max_steps": options.max_steps,
        "step_size": options.step_size,
        "penalty": options.penalty,
        "sparsity": options.sparsity,
        "likelihood": options.likelihood,
        "preset": options.preset,
        "tuning": options.tuning,
        "device": options.device,
        "precision": options.precision,
        "backend": options.backend,
        "random_state": options.seed,
    }


def run(options: argparse.Namespace) -> int:
    from dds_fast.command import files
    from dds_fast.decompose import resolve_dictionary
    from dds_fast.notes import general_midi
    from dds_fast.results import Wanted

    wanted = Wanted(
        formats=(*options.formats, *["wav"] * options.sonify),
        page=options.page,
        midi=None if options.midi is None else general_midi.read(options.midi),
        tempo=options.tempo,
        program=options.program,
        sensitivity=options.sensitivity,
    )
    jobs = files.plan(
        options.inputs,
        options.output,
        wanted,
        overwrite=options.overwrite,
        skip_existing=options.skip_existing,
    )
    return files.run(
        jobs,
        resolve_dictionary(options.dictionary),
        wanted,
        overwrite=options.overwrite,
        skip_existing=options.skip_existing,
        **search_options(options),
    )
