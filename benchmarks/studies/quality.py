"""Quality of dictionaries beside over-complete NMF, on recordings that none has heard.

    python benchmarks/quality.py DATA -o benchmarks/results/quality.json
    python benchmarks/quality.py DATA -o FILE --nmf PIANO... --model NAME=MODEL.safetensors...
    python benchmarks/quality.py DATA -o FILE --basic-pitch

DATA holds ``isol/<piano>`` (isolated notes, see dds_fast/models/piano.md), and with a label file of
the same stem for each recording ``rand/real_kawai_mix/P2..P5`` and ``real/ENSTDkAm``. As in the DDS
paper, the chords of one polyphony are cut to their labels and concatenated; every recording is
brought to the level at which `decompose` would search it. Onsets are scored in
each file by itself, as none is heard where chords are cut, and averaged over files. basic-pitch
hears whole files; its frames are then cut likewise. Finished rows of the JSON file are kept, so an
interrupted run continues.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import average_precision_score

import dds_fast
from dds_fast import audio, metrics
from dds_fast.datasets import Labels, concatenate, load_labels, load_notes

PIANOS = ("real_steinway", "sf_fluid", "real_c3close", "real_oldbacon", "real_c5")
"""All frames of these notes make the NMF dictionary; the packaged piano never saw real_c5."""

MIXES = ("P2", "P3", "P4", "P5")
DISKLAVIER = ("chpn-p4", "ty_mai")
DISKLAVIER_DELAY = 0.05


@dataclass(frozen=True)
class Recording:
    """What is scored.

    Attributes:
        spectrogram: of a recording, or of chords cut to their labels one after the other.
        labels: its notes.
        delay: seconds by which the sound comes after the labels.
        files: what it was made of, with labels in the time of the file; onsets are scored on these.
        concatenated: whether these were cut.
        seconds: of the only file that is heard; None for all.
    """

    spectrogram: dds_fast.Spectrogram
    labels: Labels
    delay: float
    files: tuple[tuple[Path, Labels], ...] = ()
    concatenated: bool = False
    seconds: float | None = None


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


def versions() -> dict[str, str]:
    return {
        "dds_fast": dds_fast.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def measure(
    name: str,
    dictionary: dds_fast.Dictionary,
    recording: Recording,
    options: dict[str, Any],
    keep: Path | None = None,
    *,
    progress: bool = True,
) -> dict[str, Any]:
    """A row of the table; the activations are kept in a file, if asked for."""
    spectrogram, labels, delay = recording.spectrogram, recording.labels, recording.delay
    last: dict[str, Any] = {}
    start = time.perf_counter(), time.process_time()
    result = dds_fast.decompose(
        spectrogram, dictionary, progress=progress, callback=last.update, **options
    )
    seconds, processor_seconds = time.perf_counter() - start[0], time.process_time() - start[1]
    X = spectrogram.values
    error = float(np.linalg.norm(X - result.reconstruction()) / np.linalg.norm(X))
    result = result.without_components()
    if keep is not None:
        result.save(keep, overwrite=True)
    scores = metrics.evaluate(result, labels, label_delay=delay)
    plain = np.zeros_like(result.source_activations)
    np.add.at(plain, result.labels, result.activations)
    without = metrics.evaluate(replace(result, source_activations=plain), labels, label_delay=delay)
    eps = 1e-3 * float(result.source_activations.max())
    return {
        "set": name,
        "kind": dictionary.kind,
        "n_frames": X.shape[1],
        "n_entries": len(result.labels),
        "settings": result.settings,
        "n_steps": result.n_steps,
        "stop_reason": result.stop_reason,
        "cost": float(result.history[-1]),
        "last_step_size": last.get("step_size"),
        "relative_error": error,
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        "label_delay": delay,
        "scores": {k: v for k, v in scores.items() if not k.startswith("note_")}
        | {
            "l0(0.001 max)": metrics.sparsity(result.source_activations, eps),
            "average_precision": average_precision(
                result.source_activations, labels.shifted(delay).roll(result.sources, result.times)
            ),
        }
        | onset_scores(recording, scores, dictionary, options),
        "without_rescaling": {k: without[k] for k in ("psa", "frame_f1_at_best_threshold")},
        "versions": versions(),
    }


def onset_scores(
    recording: Recording,
    scores: dict[str, float],
    dictionary: dds_fast.Dictionary,
    options: dict[str, Any],
) -> dict[str, float]:
    """Onset F1, the mean over the recording's files, where these are known."""
    if not recording.files:
        return {}
    if not recording.concatenated:
        return {"onset_f1": scores["note_onset_f1"]}
    found = [
        metrics.evaluate(dds_fast.decompose(path, dictionary, **options), labels)["note_onset_f1"]
        for path, labels in recording.files
    ]
    return {"onset_f1": float(np.mean(found))}


def average_precision(activations: np.ndarray, roll: np.ndarray) -> float:
    """Area under precision over recall of single frames, where a reference note sounds."""
    live = roll.any(axis=0)
    return float(average_precision_score(roll[:, live].ravel(), activations[:, live].ravel()))


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
    heads = [f"{title}: {name}" for title in columns.values() for name in names]
    lines = ["| recording | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    lines += [
        f"| {name} | " + " | ".join("–" if np.isnan(v) else f"{v:.3f}" for v in row) + " |"
        for name, row in cells.items()
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
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
    rows = json.loads(options.output.read_text()) if options.output.exists() else []
    done = {(row["set"], row["dictionary"]) for row in rows}
    config = dds_fast.SpectrogramConfig(n_fft=1024)
    sets = test_sets(options.data, config, options.files, options.seconds)
    if options.no_onsets:
        sets = {name: replace(recording, files=()) for name, recording in sets.items()}
    for name, measured in contenders(options, config):
        for set_name, recording in sets.items():
            if (set_name, name) in done:
                continue
            rows.append({"dictionary": name, **measured(set_name, recording)})
            options.output.parent.mkdir(parents=True, exist_ok=True)
            options.output.write_text(json.dumps(rows, indent=1))
    print(table(rows))


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
        settings = {"precision": options.precision, "preset": options.preset}
        yield searched(name, dds_fast.load(file or dds_fast.PIANO), settings)
    if options.basic_pitch:
        from studies.quality_basic_pitch import measure as measure_basic_pitch

        yield "basic-pitch", measure_basic_pitch
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


if __name__ == "__main__":
    main()
