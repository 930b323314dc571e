"""Quality of the packaged piano beside over-complete NMF, on recordings that neither has heard.

    python benchmarks/quality.py DATA -o benchmarks/results/quality.json

DATA holds ``isol/<piano>`` (isolated notes, see dds_fast/models/piano.md), and with a label file of
the same stem for each recording ``rand/real_kawai_mix/P2..P5`` and ``real/ENSTDkAm``. As in the DDS
paper, the chords of one polyphony are cut to their labels and concatenated. Finished rows of the
JSON file are kept, so an interrupted run continues.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dds_fast
from dds_fast import audio, metrics
from dds_fast.datasets import Labels, concatenate, find_notes, load_labels, load_notes

PIANOS = ("real_steinway", "sf_fluid", "real_c3close", "real_oldbacon", "real_c5")
"""All frames of these notes make the NMF dictionary; the packaged piano never saw real_c5."""

MIXES = ("P2", "P3", "P4", "P5")
DISKLAVIER = ("chpn-p4", "ty_mai")
DISKLAVIER_DELAY = 0.05

Recording = tuple[dds_fast.Spectrogram, Labels, float]


def read(path: Path, config: dds_fast.SpectrogramConfig) -> tuple[np.ndarray, Labels]:
    spectrogram = audio.spectrogram(audio.load(path, config.sr), config)
    return spectrogram.values, load_labels(path.with_suffix(".txt"))


def test_sets(data: Path, config: dds_fast.SpectrogramConfig, n_files: int) -> dict[str, Recording]:
    sets = {}
    for name in DISKLAVIER:
        (path,) = (data / "real" / "ENSTDkAm").glob(f"*{name}*.flac")
        X, labels = read(path, config)
        sets[f"Disklavier {name}"] = dds_fast.Spectrogram(X, config), labels, DISKLAVIER_DELAY
    for name in MIXES:
        paths = sorted((data / "rand" / "real_kawai_mix" / name).glob("*.flac"))[:n_files]
        labelled = ((path, load_labels(path.with_suffix(".txt"))) for path in paths)
        sets[f"Kawai chords {name}"] = *concatenate(labelled, config), 0.0
    return sets


def versions() -> dict[str, str]:
    return {
        "dds_fast": dds_fast.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def measure(
    name: str, dictionary: dds_fast.Dictionary, recording: Recording, max_steps: int | None
) -> dict[str, Any]:
    spectrogram, labels, delay = recording
    result = dds_fast.decompose(
        spectrogram, dictionary, max_steps=max_steps, keep_components=False, progress=True
    )
    scores = metrics.evaluate(result, labels, label_delay=delay)
    return {
        "set": name,
        "kind": dictionary.kind,
        "n_frames": spectrogram.values.shape[1],
        "settings": result.settings,
        "n_steps": result.n_steps,
        "stop_reason": result.stop_reason,
        "cost": float(result.history[-1]),
        "label_delay": delay,
        # Notes are not scored: concatenated chords end where the next one begins.
        "scores": {k: v for k, v in scores.items() if not k.startswith("note_")},
        "versions": versions(),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a row per set, DDS-3 beside NMF."""
    lines = [
        "| recording | PSA: DDS-3 | NMF | l0(1e-2): DDS-3 | NMF | best-threshold F1: DDS-3 | NMF |",
        "|---|---|---|---|---|---|---|",
    ]
    by_set: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        by_set.setdefault(row["set"], {})[row["kind"]] = row["scores"]
    columns = ("psa", "l0(0.01)", "frame_f1_at_best_threshold")
    complete = {name: kinds for name, kinds in by_set.items() if len(kinds) == 2}
    cells = {
        name: [kinds[kind][column] for column in columns for kind in ("dds3", "nmf")]
        for name, kinds in complete.items()
    }
    if cells:
        cells["mean"] = list(np.mean(list(cells.values()), axis=0))
    lines += [
        f"| {name} | " + " | ".join(f"{v:.3f}" for v in row) + " |" for name, row in cells.items()
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", choices=["nmf", "dds3"], default=["dds3", "nmf"])
    parser.add_argument("--files", type=int, default=10, help="chords per polyphony")
    parser.add_argument("--nmf-steps", type=int, default=None, help="default: the paper's 1000")
    parser.add_argument("--dictionary", type=Path, help="default: the packaged piano")
    options = parser.parse_args()
    rows = json.loads(options.output.read_text()) if options.output.exists() else []
    done = {(row["set"], row["kind"]) for row in rows}
    config = dds_fast.SpectrogramConfig(n_fft=1024)
    sets = test_sets(options.data, config, options.files)
    for kind in options.kinds:
        if kind == "nmf":
            notes = load_notes(find_notes([options.data / "isol" / p for p in PIANOS]), config)
            dictionary, max_steps = (
                dds_fast.Dictionary.from_frames(notes, config),
                options.nmf_steps,
            )
        else:
            dictionary, max_steps = dds_fast.load(options.dictionary or dds_fast.PIANO), None
        for name, recording in sets.items():
            if (name, kind) in done:
                continue
            rows.append(measure(name, dictionary, recording, max_steps))
            options.output.parent.mkdir(parents=True, exist_ok=True)
            options.output.write_text(json.dumps(rows, indent=1))
    print(table(rows))


if __name__ == "__main__":
    main()
