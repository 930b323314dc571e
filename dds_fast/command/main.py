"""The command line: ``dds-fast decompose | separate | evaluate | fit | inspect | plot | ...``."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dds_fast.search.dispatch import PRECISIONS

if TYPE_CHECKING:
    from dds_fast.dictionary import Dictionary

DEMO_CLIP = Path(__file__).parents[1] / "models" / "demo_chord.flac"

logger = logging.getLogger("dds_fast")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0; 1 after an error or if some recordings failed; 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.WARNING, format="%(message)s"
    )
    logging.captureWarnings(True)
    try:
        return options.run(options)
    except (ValueError, OSError, RuntimeError, MemoryError, ArithmeticError) as error:
        print(f"dds-fast: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("dds-fast: interrupted", file=sys.stderr)
        return 130


class _CommandParser(argparse.ArgumentParser):
    """A command's options, which must be written out."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dds-fast", description="Decompose audio into its sources.", allow_abbrev=False
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="say what is done")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_CommandParser)
    _add_decompose(commands)
    _add_separate(commands)
    _add_evaluate(commands)
    _add_fit(commands)
    _add_inspect(commands)
    _add_plot(commands)
    _add_bench(commands)
    info = commands.add_parser("info", help="versions, devices and the backends that would run")
    info.set_defaults(run=_info)
    demo = commands.add_parser("demo", help="decompose a short piano clip that ships with dds-fast")
    demo.add_argument("-o", "--output", type=Path, default=Path("dds-fast-demo"), metavar="OUT")
    demo.set_defaults(run=_demo)
    return parser


def _add_decompose(commands: Any) -> None:
    parser = commands.add_parser(
        "decompose",
        help="recordings to notes, MIDI and pictures",
        description="Find the notes in recordings. For each, OUT gets a folder of its name with "
        "notes.csv, notes.mid, activations.png and activations.npz.",
    )
    parser.add_argument("inputs", nargs="+", type=Path, metavar="IN", help="audio file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder")
    parser.add_argument(
        "-d", "--dictionary", type=Path, help="dictionary file (default: the packaged piano)"
    )
    parser.add_argument("--components", type=int, metavar="K", help="entries per source")
    parser.add_argument("--max-steps", type=int, metavar="N", help="most update steps")
    parser.add_argument("--step-size", type=float, help="initial step size of Adam")
    parser.add_argument("--penalty", type=float, help="weight of the likelihood penalty")
    parser.add_argument("--sparsity", type=float, help="weight of the activations' l1 norm")
    parser.add_argument(
        "--likelihood", choices=["latent", "data"], default="latent", help="of codes, or of spectra"
    )
    parser.add_argument(
        "--preset",
        choices=["fast", "paper"],
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
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace existing results")
    existing.add_argument(
        "--skip-existing", action="store_true", help="leave finished recordings alone"
    )
    parser.set_defaults(run=_decompose)


def _tuning(text: str) -> float | str:
    return text if text == "auto" else float(text)


def _add_separate(commands: Any) -> None:
    from dds_fast.methods.score_informed import CONSTRAINTS
    from dds_fast.notes import grouping

    parser = commands.add_parser("separate", help="a recording to stems that sum to it")
    parser.add_argument("input", type=Path, metavar="IN", help="audio file")
    parser.add_argument(
        "score", type=Path, nargs="?", help="MIDI file or note list; without it, by a dictionary"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    parser.add_argument("--by", choices=grouping.BY, default="hand", help="what makes a stem")
    parser.add_argument(
        "--split",
        type=int,
        default=grouping.MIDDLE_C,
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
    parser.set_defaults(run=_separate)


def _add_evaluate(commands: Any) -> None:
    parser = commands.add_parser("evaluate", help="score results against reference notes")
    parser.add_argument("output", type=Path, metavar="OUT", help="folder made by decompose")
    parser.add_argument(
        "labels", type=Path, metavar="LABELS", help="folder of <stem>.mid or <stem>.txt, or a file"
    )
    parser.add_argument(
        "--label-delay", type=float, default=0.0, metavar="S", help="sound after label, seconds"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the scores here")
    parser.add_argument("--overwrite", action="store_true", help="replace the JSON file")
    parser.set_defaults(run=_evaluate)


def _add_fit(commands: Any) -> None:
    from dds_fast.fit import KINDS, PRESETS
    from dds_fast.flows.training.loop import PRECISIONS as TRAINING_PRECISIONS

    parser = commands.add_parser(
        "fit",
        help="learn a dictionary from isolated notes",
        description="Learn a dictionary from isolated notes. Log, pictures, report and checkpoint "
        "are kept in FILE's name with .fit; killed, the same command goes on where it was.",
    )
    parser.add_argument("notes", nargs="+", type=Path, metavar="NOTES", help="folder of notes")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--kind", choices=KINDS, default="dds2")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="small")
    parser.add_argument("--max-epochs", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--batch-size", type=int, help="frames per step (per source for dds2)")
    parser.add_argument("--precision", choices=TRAINING_PRECISIONS, help="of products")
    parser.add_argument("--codes", type=int, metavar="M", help="codes per source (default: 40)")
    parser.add_argument("--device", help="cpu, cuda (default: a GPU if there is one)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    parser.set_defaults(run=_fit)


def _add_inspect(commands: Any) -> None:
    parser = commands.add_parser("inspect", help="what a dictionary is and how it was made")
    parser.add_argument("dictionary", type=Path, nargs="?", help="default: the packaged piano")
    parser.add_argument(
        "data", type=Path, nargs="*", metavar="DATA", help="folder of notes to report on"
    )
    parser.add_argument("-o", "--out", type=Path, metavar="FOLDER", help="where to draw the report")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing report")
    parser.set_defaults(run=_inspect)


def _add_plot(commands: Any) -> None:
    parser = commands.add_parser("plot", help="draw saved activations again")
    parser.add_argument("result", type=Path, help="an activations.npz")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PNG")
    parser.add_argument("--labels", type=Path, help="reference notes to outline")
    parser.add_argument("--label-delay", type=float, default=0.0, metavar="S")
    parser.add_argument("--overwrite", action="store_true")
    parser.set_defaults(run=_plot)


def _add_bench(commands: Any) -> None:
    from dds_fast.command.bench import SUITES

    parser = commands.add_parser("bench", help="measure speed, cost and claims, from a checkout")
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of the suite: -h shows them")
    parser.set_defaults(run=_bench)


def _decompose(options: argparse.Namespace) -> int:
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
        n_components=options.components,
        max_steps=options.max_steps,
        step_size=options.step_size,
        penalty=options.penalty,
        sparsity=options.sparsity,
        likelihood=options.likelihood,
        preset=options.preset,
        tuning=options.tuning,
        device=options.device,
        precision=options.precision,
        backend=options.backend,
        random_state=options.seed,
    )


def _separate(options: argparse.Namespace) -> int:
    from dds_fast.notes.score import load_labels
    from dds_fast.separate import decomposition, groups_of, write

    folder = options.output / options.input.stem
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
    result = decomposition(
        options.input,
        score,
        options.dictionary,
        random_state=options.seed,
        device=options.device,
        progress=True,
        **given,
    )
    groups = groups_of(result, score, options.by, split=options.split)
    paths = write(folder, result.stems(groups), result.config.sr, overwrite=options.overwrite)
    for path in paths:
        print(path)
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from dds_fast.command import files
    from dds_fast.files import writing

    scores = files.evaluate(options.output, options.labels, label_delay=options.label_delay)
    print(files.table(scores))
    print(f"label delay {options.label_delay:g} s")
    if options.json is not None:
        record = {"label_delay": options.label_delay, "scores": scores}
        with writing(options.json, options.overwrite) as path:
            path.write_text(json.dumps(record, indent=1))
    return 0


def _fit(options: argparse.Namespace) -> int:
    from dds_fast.fit import fit
    from dds_fast.flows.training import checkpoint, ranks

    if options.output.exists() and not options.overwrite:
        raise FileExistsError(f"{options.output} exists; pass --overwrite to replace it")
    folder = options.output.with_suffix(".fit")
    dictionary = fit(
        options.notes,
        options.kind,
        preset=options.preset,
        max_epochs=options.max_epochs,
        learning_rate=options.learning_rate,
        batch_size=options.batch_size,
        precision=options.precision,
        n_codes=options.codes,
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


def _inspect(options: argparse.Namespace) -> int:
    from dds_fast.decompose import resolve_dictionary

    if options.out is not None and not options.data:
        raise ValueError("--out needs DATA, the notes to report on")
    dictionary = resolve_dictionary(options.dictionary)
    print(dictionary)
    print(dictionary.spectrogram)
    print(dictionary.search)
    print(_described_codes(dictionary))
    print(dictionary.detection or "Notes: thresholds not calibrated, relative to the recording")
    dictionary.metadata.get("training", {}).pop("history", None)  # a line per epoch is too long
    print(json.dumps(dictionary.metadata, indent=1))
    if options.data:
        _inspect_notes(dictionary, options)
    return 0


def _described_codes(dictionary: Dictionary) -> str:
    if dictionary.flow is None:
        return "Codes: none, searches begin at the frames themselves"
    if dictionary.codes is None:
        return "Codes: none stored, searches begin at draws of the flow"
    rms = float(dictionary.codes.square().mean().sqrt())
    return f"Codes: {dictionary.codes.shape[1]} per source, root mean square {rms:.2f}"


def _inspect_notes(dictionary: Dictionary, options: argparse.Namespace) -> None:
    from dds_fast.datasets import load_notes
    from dds_fast.inspection import inspect

    pitches = [source for source in dictionary.sources if isinstance(source, int)]
    notes = load_notes(options.data, dictionary.spectrogram, pitches=pitches)
    inspection = inspect(dictionary, notes)
    print(json.dumps(inspection.summary(), indent=1))
    if options.out is not None:
        inspection.save(options.out, overwrite=options.overwrite)
        print(f"The report by source and its pictures are in {options.out}")


def _plot(options: argparse.Namespace) -> int:
    from dds_fast.decomposition import Decomposition
    from dds_fast.notes.score import load_labels
    from dds_fast.plots import save_figure

    result = Decomposition.load(options.result)
    roll = None
    if options.labels is not None:
        labels = load_labels(options.labels).shifted(options.label_delay)
        roll = labels.roll(result.sources, result.times)
    save_figure(result.plot(roll=roll), options.output, overwrite=options.overwrite)
    return 0


def _bench(options: argparse.Namespace) -> int:
    from dds_fast.command import bench

    return bench.run(options.suite, options.arguments)


def _info(options: argparse.Namespace) -> int:
    from dds_fast.command.info import report

    print(report())
    return 0


def _demo(options: argparse.Namespace) -> int:
    from dds_fast.command import files
    from dds_fast.decompose import resolve_dictionary
    from dds_fast.decomposition import Decomposition
    from dds_fast.notes.score import load_labels

    dictionary = resolve_dictionary(None)
    played = set(load_labels(DEMO_CLIP.with_suffix(".txt")).pitches.tolist())
    print(
        f"Decomposing {DEMO_CLIP.name}, a chord of {_names(played)}, with the packaged dictionary:"
    )
    print(f"{dictionary}, {dictionary.search}")
    jobs = files.plan([DEMO_CLIP], options.output, overwrite=True)
    status = files.run(jobs, dictionary, overwrite=True)
    folder = jobs[0].folder
    if status == 0:
        print((folder / "notes.csv").read_text().rstrip())
        result = Decomposition.load(folder / files.ACTIVATIONS)
        print(compared(played, {int(note.source) for note in result.notes()}))
        print(f"Picture, MIDI, CSV and arrays are in {folder.resolve()}")
    return status


def compared(played: set[int], found: set[int]) -> str:
    """Which of the notes played were found, which were missed, and what else was found."""
    missed, others = played - found, found - played
    return (
        f"Found {_names(played & found) or 'none of them'}; "
        + (f"missed {_names(missed)}; " if missed else "")
        + (f"also found {_names(others)}, not played." if others else "nothing else.")
    )


def _names(pitches: set[int]) -> str:
    from dds_fast.notes.names import note_name

    return ", ".join(note_name(pitch) for pitch in sorted(pitches))
