"""Quality of dictionaries beside over-complete NMF, on recordings that none has heard.

    python benchmarks quality DATA -o benchmarks/results/quality.json
    python benchmarks quality DATA -o FILE --nmf PIANO... --model NAME=MODEL.safetensors...
    python benchmarks quality DATA -o FILE --basic-pitch

DATA holds ``isol/<piano>`` (isolated notes, see dds_fast/models/piano.md), and with a label file of
the same stem for each recording ``rand/real_kawai_mix/P2..P5`` and ``real/ENSTDkAm``. As in the DDS
paper, the chords of one polyphony are cut to their labels and concatenated; every recording is
brought to the level at which `decompose` would search it. Onsets are scored in
each file by itself, as none is heard where chords are cut, and averaged over files. basic-pitch and
the models hear whole files, as users have them, and their frames are then cut likewise; NMF, and
models with a ``--preset``, are searched in the cut spectrograms, as in the paper. Finished rows of
the JSON file are kept, so an interrupted run continues.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import store
from report import markdown
from scores import Heard, Recording, measure, measure_heard

import dds_fast
from dds_fast import audio
from dds_fast.datasets import concatenate, load_labels, load_notes
from dds_fast.notes.found import to_labels

BASIC_PITCH = ("basic-pitch", "onnxruntime", "resampy")
PIANOS = ("real_steinway", "sf_fluid", "real_c3close", "real_oldbacon", "real_c5")
"""All frames of these notes make the NMF dictionary; the packaged piano never saw real_c5."""

MIXES = ("P2", "P3", "P4", "P5")
DISKLAVIER = ("chpn-p4", "ty_mai")
DISKLAVIER_DELAY = 0.05


def test_sets(
    data: Path, config: dds_fast.SpectrogramConfig, n_files: int, seconds: float | None = None
) -> dict[str, Recording]:
    """Spectrogram, labels and their delay by name; the first `seconds` of longer recordings."""
    sets = {}
    end = None if seconds is None else int(config.frames(seconds))
    for name in DISKLAVIER:
        (path,) = (data / "real" / "ENSTDkAm").glob(f"*{name}*.flac")
        waveform = audio.load(path, config.sr)
        waveform = waveform * audio.normalising_gain(waveform)
        X = audio.spectrogram(waveform, config).values[:, :end]
        labels = load_labels(path.with_suffix(".txt"))
        if seconds is not None:
            labels = labels.select(labels.intervals[:, 0] + DISKLAVIER_DELAY < seconds)
        sets[f"Disklavier {name}"] = Recording(
            dds_fast.Spectrogram(X, config),
            labels,
            DISKLAVIER_DELAY,
            ((path, labels),),
            concatenated=False,
            seconds=seconds,
        )
    for name in MIXES:
        paths = sorted((data / "rand" / "real_kawai_mix" / name).glob("*.flac"))[:n_files]
        files = tuple((path, load_labels(path.with_suffix(".txt"))) for path in paths)
        spectrogram, labels = concatenate(files, config, normalise=True)
        sets[f"Kawai chords {name}"] = Recording(spectrogram, labels, 0.0, files, concatenated=True)
    return sets


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a row per set, dictionaries side by side."""
    names = list(dict.fromkeys(row["dictionary"] for row in rows))
    columns = {"psa": "PSA", "l0(0.01)": "l0(1e-2)", "average_precision": "AP"}
    columns |= {"frame_f1_at_best_threshold": "best F1", "frame_f1": "F1", "onset_f1": "onset F1"}
    scores = {(row["set"], row["dictionary"]): row["scores"] for row in rows}
    cells = {
        s: [scores[s, n].get(c, np.nan) for c in columns for n in names]
        for s in dict.fromkeys(row["set"] for row in rows)
        if all((s, n) in scores for n in names)
    }
    if cells:
        cells["mean"] = list(np.mean(list(cells.values()), axis=0))
    return markdown(
        ["recording", *(f"{title}: {name}" for title in columns.values() for name in names)],
        [[name, *("–" if np.isnan(v) else f"{v:.3f}" for v in row)] for name, row in cells.items()],
    )


def main() -> None:
    parser = store.parser(__doc__, "data")
    parser.add_argument("--files", type=int, default=10, help="chords per polyphony")
    parser.add_argument("--seconds", type=float, help="of the Disklavier; default: all")
    parser.add_argument(
        "--model", nargs="+", default=["DDS-3"], metavar="NAME[=FILE]", help="default: packaged"
    )
    parser.add_argument("--nmf", nargs="*", metavar="PIANO", help="default: all but none to ship")
    parser.add_argument("--nmf-steps", type=int, default=None, help="default: the paper's 1000")
    parser.add_argument("--nmf-sparsity", type=float, default=None)
    parser.add_argument("--basic-pitch", action="store_true", help="extra peers")
    parser.add_argument("--no-onsets", action="store_true", help="score frames alone")
    parser.add_argument("--preset", help="of the models' search")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="for the activations")
    options = parser.parse_args()
    more = BASIC_PITCH if options.basic_pitch else ()
    study = store.Study(options.output, ("dictionary", "set"), trial=options.trial, more=more)
    config = dds_fast.SpectrogramConfig(n_fft=1024)
    sets = test_sets(options.data, config, options.files, options.seconds)
    if options.no_onsets:
        sets = {name: replace(recording, files=()) for name, recording in sets.items()}
    for name, measured in contenders(options, config):
        for set_name, recording in sets.items():
            study.add(name, set_name, measure=partial(measured, set_name, recording))
    print(table(study.rows))


def heard(
    dictionary: dds_fast.Dictionary, precision: str, name: str, recording: Recording
) -> dict[str, Any]:
    """The row of a dictionary that hears whole files."""

    def hear(path: Path, seconds: float | None) -> Heard:
        waveform = audio.load(path, dictionary.spectrogram.sr)
        if seconds is not None:
            waveform = waveform[: int(seconds * dictionary.spectrogram.sr)]
        result = dds_fast.decompose(
            waveform, dictionary, sr=dictionary.spectrogram.sr, precision=precision
        )
        return Heard(result.times, result.source_activations, to_labels(result.notes()))

    sources = [source for source in dictionary.sources if isinstance(source, int)]
    return measure_heard(name, dictionary.kind, recording, sources, hear)


def contenders(
    options: argparse.Namespace, config: dds_fast.SpectrogramConfig
) -> Iterator[tuple[str, Callable[[str, Recording], dict[str, Any]]]]:
    """Name of what takes part, and what makes its row of a set."""

    def searched(name: str, dictionary: dds_fast.Dictionary, settings: dict[str, Any]) -> Any:
        def measured(set_name: str, recording: Recording) -> dict[str, Any]:
            keep = options.keep and options.keep / f"{name} {set_name}.npz"
            return measure(set_name, dictionary, recording, settings, keep)

        return name, measured

    for model in options.model:
        name, _, file = model.partition("=")
        dictionary = dds_fast.load(file or dds_fast.PIANO)
        if options.preset is None:
            yield name, partial(heard, dictionary, options.precision)
        else:
            settings = {"precision": options.precision, "preset": options.preset}
            yield searched(name, dictionary, settings)
    if options.basic_pitch:
        yield "basic-pitch", importlib.import_module("studies.quality_basic_pitch").measure
    if options.nmf is None:
        return
    folders = [options.data / "isol" / piano for piano in options.nmf or PIANOS]
    dictionary = dds_fast.Dictionary.from_frames(load_notes(folders, config), config)
    settings = {
        "preset": "paper",
        "max_steps": options.nmf_steps,
        "sparsity": options.nmf_sparsity,
    }
    yield searched("NMF" if options.nmf_sparsity is None else "sparse NMF", dictionary, settings)
