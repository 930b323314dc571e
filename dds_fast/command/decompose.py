"""``dds-fast decompose``: recordings to notes, MIDI and pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dds_fast.choices import LIKELIHOODS, PRECISIONS, PRESETS


def add(commands: Any) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "decompose",
        help="recordings to notes, MIDI and pictures",
        description="Find the notes in recordings. For each, OUT gets a folder of its name with "
        "notes.csv, notes.mid, activations.png and activations.npz.",
    )
    parser.add_argument("inputs", nargs="+", type=Path, metavar="IN", help="audio file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder")
    add_search(parser)
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace existing results")
    existing.add_argument(
        "--skip-existing",
        action="store_true",
        help="leave finished recordings alone, and those that another process works on",
    )
    return parser


def add_search(parser: argparse.ArgumentParser) -> None:
    """The options of a search and its notes, which `search_options` reads."""
    parser.add_argument(
        "-d", "--dictionary", type=Path, help="dictionary file (default: the packaged piano)"
    )
    parser.add_argument("--components", type=int, metavar="K", help="entries per source")
    parser.add_argument("--max-steps", type=int, metavar="N", help="most update steps")
    parser.add_argument("--step-size", type=float, help="initial step size of Adam")
    parser.add_argument("--penalty", type=float, help="weight of the likelihood penalty")
    parser.add_argument("--sparsity", type=float, help="weight of the activations' l1 norm")
    parser.add_argument(
        "--likelihood", choices=LIKELIHOODS, default="latent", help="of codes, or of spectra"
    )
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        help="fewer update steps, or the paper's settings (default: the dictionary's own)",
    )
    parser.add_argument(
        "--tuning",
        type=_tuning,
        metavar="CENTS",
        help="of the recording's A above 440 Hz (432 Hz: -31.8), or auto to estimate it",
    )
    parser.add_argument("--device", help="cpu, cuda (default: a GPU if there is one)")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of the search")
    parser.add_argument("--backend", default="auto", help="auto or a name that dds-fast info shows")
    parser.add_argument("--seed", type=int, default=0, help="of the initial activations")
    parser.add_argument(
        "--midi",
        metavar="NAME=NUMBER,...",
        help="drum notes and programs of named sources in notes.mid, by number or General MIDI "
        "name; or a JSON file of them",
    )


def _tuning(text: str) -> float | str:
    return text if text == "auto" else float(text)


def search_options(options: argparse.Namespace) -> dict[str, Any]:
    """The options of `add_search`, the dictionary aside, by the names that functions have."""
    from dds_fast.notes import general_midi

    return {
        "midi": None if options.midi is None else general_midi.read(options.midi),
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

    jobs = files.plan(
        options.inputs,
        options.output,
        overwrite=options.overwrite,
        skip_existing=options.skip_existing,
    )
    return files.run(
        jobs,
        resolve_dictionary(options.dictionary),
        overwrite=options.overwrite,
        skip_existing=options.skip_existing,
        **search_options(options),
    )
