"""What a lower precision costs: errors of trained flows, and the change in PSA.

    python benchmarks precision DATA -o DIR [--device cuda]

DATA is laid out as quality.py describes. Two studies, each a JSON file in DIR, drawn into
DIR/README.md; finished rows are kept, so an interrupted run continues.

- errors.json: decode, log-determinant and gradient of trained flows against float64: the packaged
  piano, and a bank of a few notes of ``isol/real_c5`` (or of ``--bank FILE``).
- psa.json: the packaged piano on chords, one file each, cut to its labels, by default for fewer
  steps than its own settings say. The change in PSA is paired: same file, same seed, other
  precision. The yardstick is what another seed of the initial activations changes.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import store
import torch
from kernels.accuracy import error_ratio
from report import markdown
from studies.quality import MIXES
from torch import Tensor

import dds_fast
from dds_fast import Dictionary, metrics
from dds_fast.datasets import concatenate, find_notes, load_labels, load_notes
from dds_fast.ops import FrozenFlow, flow_decode

PRECISIONS = ("float32", "bf16x3", "bfloat16")
GPU_PRECISIONS = ("float32", "tf32", "bf16x3", "bfloat16")
BANK_PITCHES = range(48, 60)
BANK_EPOCHS = 20
ROWS = 20
SEEDS = (0, 1, 2)

KEYS = {
    "errors.json": ("flow", "latents", "precision"),
    "psa.json": ("file", "precision", "seed", "steps"),
}

Row = dict[str, Any]


# ---- errors of trained flows


def trained_bank(data: Path) -> Dictionary:
    """A bank of an octave, trained for a short while: its weights are no longer random."""
    config = dds_fast.SpectrogramConfig(n_fft=1024)
    notes = load_notes(find_notes(data / "isol" / "real_c5", BANK_PITCHES), config)
    return dds_fast.fit(notes, "dds2", max_epochs=BANK_EPOCHS, progress=True)


def precisions(device: torch.device) -> tuple[str, ...]:
    return GPU_PRECISIONS if device.type == "cuda" else PRECISIONS


def latents(dictionary: Dictionary, drawn: bool) -> Tensor:
    """``(G, R, F)`` float64 codes: where a search starts, or drawn from the prior."""
    flow = dictionary.frozen(torch.float64, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    n_sources = len(dictionary.sources)
    rows = ROWS * n_sources // flow.n_groups
    z = torch.randn(
        flow.n_groups, rows, flow.n_features, generator=generator, dtype=torch.float64
    ) * float(drawn)
    if dictionary.kind == "dds3":
        z[..., :n_sources] = torch.eye(n_sources).repeat_interleave(ROWS, 0)
    return z


def decoded(flow: FrozenFlow, z: Tensor, **options: Any) -> dict[str, Tensor]:
    """x, log-determinant, and the gradient to z of both under fixed random cotangents."""
    generator = torch.Generator().manual_seed(1)
    z = z.to(flow.dtype).requires_grad_()
    outputs = flow_decode(flow, z, **options)
    cotangents = [torch.randn(o.shape, generator=generator).to(o) for o in outputs]
    (gradient,) = torch.autograd.grad(outputs, z, cotangents)
    x, log_det = (output.detach() for output in outputs)
    return {"x": x, "log_det": log_det, "gradient": gradient}


def errors(dictionary: Dictionary, drawn: bool, precision: str, device: torch.device) -> Row:
    """RMS errors over RMS of float64. Weights are the same float32 numbers in both."""
    z = latents(dictionary, drawn).to(device, torch.float32)
    flow = dictionary.frozen(torch.float32, device)
    options = {} if precision == "float32" else {"precision": precision}
    exact = decoded(flow.to(torch.float64), z, backend="reference")
    actual = decoded(flow, z, **options)
    return {name: error_ratio(actual[name], exact[name]) for name in exact}


def study_errors(study: store.Study, data: Path, bank: Path | None, device: torch.device) -> None:
    flows = {
        "packaged piano": lambda: dds_fast.load(dds_fast.PIANO),
        "bank": lambda: trained_bank(data) if bank is None else dds_fast.load(bank),
    }
    for name, make in flows.items():
        wanted = [(name, at, p) for at in ("start", "drawn") for p in precisions(device)]
        if all(study.find(*key) for key in wanted):
            continue
        dictionary = make()
        for _, at, p in wanted:
            measure = partial(errors, dictionary, at == "drawn", p, device)
            study.add(name, at, p, measure=measure)


def errors_table(rows: list[Row]) -> str:
    return markdown(
        ["flow", "latent codes", "precision", "x", "log-det", "gradient to z"],
        [
            [
                *(row[name] for name in ("flow", "latents", "precision")),
                *(f"{row[name]:.1e}" for name in ("x", "log_det", "gradient")),
            ]
            for row in rows
        ],
    )


# ---- PSA


def chords(data: Path, n_per_polyphony: int) -> list[Path]:
    """Files of all polyphonies in turn, so that a short list has all of them."""
    folders = [data / "rand" / "real_kawai_mix" / name for name in MIXES]
    files = [sorted(folder.glob("*.flac"))[:n_per_polyphony] for folder in folders]
    return [path for paths in zip(*files, strict=True) for path in paths]


def psa(
    dictionary: Dictionary,
    path: Path,
    precision: str,
    seed: int,
    steps: int,
    device: torch.device,
) -> Row:
    labelled = [(path, load_labels(path.with_suffix(".txt")))]
    spectrogram, labels = concatenate(labelled, dictionary.spectrogram)
    result = dds_fast.decompose(
        spectrogram,
        dictionary,
        precision=precision,
        random_state=seed,
        max_steps=steps,
        device=device,
        keep_components=False,
    )
    return {
        "psa": metrics.evaluate(result, labels)["psa"],
        "cost": float(result.history[-1]),
        "n_frames": spectrogram.values.shape[1],
        "settings": result.settings,
    }


def study_psa(study: store.Study, data: Path, options: argparse.Namespace) -> None:
    dictionary, device = dds_fast.load(dds_fast.PIANO), options.device
    files = chords(data, options.files)
    runs = [(path, precision, SEEDS[0]) for path in files for precision in precisions(device)]
    runs += [(p, "float32", seed) for p in files[: options.seed_files] for seed in SEEDS[1:]]
    runs += [(path, "float64", SEEDS[0]) for path in files[: options.float64_files]]
    for path, p, seed in runs:
        measure = partial(psa, dictionary, path, p, seed, options.steps, device)
        name = f"{path.parent.name}/{path.stem}"
        study.add(name, p, seed, options.steps, measure=measure)


def paired(rows: list[Row], of: dict[str, Any], to: dict[str, Any]) -> np.ndarray:
    """Differences in PSA, file by file, between two kinds of rows."""

    def scores(kind: dict[str, Any]) -> dict[str, float]:
        return {row["file"]: row["psa"] for row in rows if kind.items() <= row.items()}

    left, right = scores(of), scores(to)
    return np.array([left[file] - right[file] for file in left if file in right])


def psa_table(rows: list[Row]) -> str:
    """Per number of steps: each precision against float32 and float64, and seed against seed."""
    cells = []
    first = {"seed": SEEDS[0]}
    for steps in sorted({row["steps"] for row in rows}):
        subset = [row for row in rows if row["steps"] == steps]
        single = first | {"precision": "float32"}
        comparisons = [
            *[(f"{p} for float32", first | {"precision": p}, single) for p in GPU_PRECISIONS[1:]],
            *[
                (f"{p} for float64", first | {"precision": p}, first | {"precision": "float64"})
                for p in GPU_PRECISIONS
            ],
            *[(f"seed {s} for seed {SEEDS[0]}", single | {"seed": s}, single) for s in SEEDS[1:]],
        ]
        for name, of, to in comparisons:
            d = paired(subset, of, to)
            if len(d) < 2:
                continue
            error = d.std(ddof=1) / len(d) ** 0.5
            numbers = f"{d.mean():+.5f}", f"{error:.5f}", f"{np.abs(d).max():.5f}"
            cells.append([str(steps), name, str(len(d)), *numbers])
    header = ["steps", "change", "files", "mean change in PSA", "its standard error", "largest"]
    return markdown(header, cells)


NOTES = """\
Errors are RMS errors over the RMS of float64 values, on the same float32 weights; "start" is where
a search begins, "drawn" are codes from the prior. PSA is that of the packaged piano with its own
settings but for the number of steps, on single chords of a piano that it has not heard."""


def render(errors_study: store.Study, psa_study: store.Study) -> str:
    """Both tables."""
    parts = ["# Precision", NOTES]
    parts += [errors_table(errors_study.rows), psa_table(psa_study.rows)]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = store.parser(__doc__, "data")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--bank", type=Path, help="a trained dds2 dictionary")
    parser.add_argument("--files", type=int, default=10, help="chords per polyphony")
    parser.add_argument("--steps", type=int, default=100, help="instead of the piano's own")
    parser.add_argument("--seed-files", type=int, default=12, help="files for the other seeds")
    parser.add_argument("--float64-files", type=int, default=4)
    options = parser.parse_args()
    errors_study, psa_study = (
        store.Study(
            options.output / name, keys, trial=options.trial, device=str(options.device), seed=SEEDS
        )
        for name, keys in KEYS.items()
    )
    study_errors(errors_study, options.data, options.bank, options.device)
    study_psa(psa_study, options.data, options)
    report = render(errors_study, psa_study)
    (options.output / "README.md").write_text(report, encoding="utf-8")
    print(report)
