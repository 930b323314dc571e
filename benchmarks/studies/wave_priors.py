"""What the measurements of flow priors share: results that stay, waveform priors level by level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import store
import torch
from matplotlib.figure import Figure
from report import save
from safetensors.torch import load_file, save_file

from dds_fast import plots
from dds_fast.datasets.toy import add_noise
from dds_fast.flows import FloWaveNetBank
from dds_fast.flows.training.loop import TrainingConfig, train
from dds_fast.flows.training.waves import Stems, WaveTraining
from dds_fast.methods.priors import Prior, cross_likelihood

SIZES = {"n_blocks": 4, "n_flows": 3, "width": 12, "n_layers": 5}
CROP = 1024
NOISELESS: dict[str, Any] = {"max_epochs": 6, "learning_rate": 1e-3}
"""Epochs of 100 steps."""

TUNING: dict[str, Any] = {"max_epochs": 1, "learning_rate": 5e-4}
TUNING_STEPS = 50


def trained(
    work: Path, stems: Stems, held: Stems, sigma: float, before: FloWaveNetBank | None
) -> FloWaveNetBank:
    """The priors of one noise level; tuned from those of the level before, if there is one."""
    bank = FloWaveNetBank(len(stems.sources), **SIZES)
    path = work / f"noise_{sigma:.4f}.safetensors"
    if path.exists():
        bank.load_state_dict(load_file(path))
        return bank
    if before is not None:
        bank.load_state_dict(before.state_dict())
    settings = NOISELESS if before is None else TUNING
    config = TrainingConfig(**settings, one_cycle=True, batch_size=4, max_norm=20.0 * CROP)
    n_batches = 100 if before is None else TUNING_STEPS
    device = torch.device("cpu")
    task = WaveTraining(
        bank, stems, held, config, device, crop=CROP, n_batches=n_batches, noise=sigma
    )
    train(task, config, folder=work / path.stem, progress=True)
    save_file(bank.state_dict(), path)
    return bank


def matrices(prior: Prior, clips: np.ndarray, sources: tuple, sigma: float) -> dict[str, Any]:
    """Cross-likelihoods in nats per dimension, of clips with the noise the prior is made for."""
    noisy = torch.from_numpy(add_noise(clips, sigma, np.random.default_rng(2)))
    entry: dict[str, Any] = {"sources": sources, "noise": sigma}
    for name, log_det in (("latent", False), ("with_log_det", True)):
        matrix = cross_likelihood(prior, noisy, log_det=log_det)
        others = np.where(np.eye(len(matrix), dtype=bool), -np.inf, matrix)
        entry[name] = matrix.tolist()
        entry[f"{name}_margin_per_row"] = (np.diag(matrix) - others.max(axis=1)).tolist()
    return entry


def compare(
    study: store.Study,
    prior: Prior,
    clips: np.ndarray,
    sources: tuple,
    sigma: float,
    picture: Path | None,
) -> None:
    """`matrices` as a row of a study, and drawn side by side."""
    name = f"cross-likelihood, noise {sigma:.4f}"
    entry = study.add(name, measure=lambda: matrices(prior, clips, sources, sigma))
    if picture is not None:
        draw(entry, picture)


def draw(entry: dict[str, Any], path: Path) -> None:
    """Both matrices of an entry, side by side."""
    figure = Figure(figsize=(10.4, 4.4), layout="constrained")
    titles = {"latent": "latent density", "with_log_det": "likelihood"}
    for ax, (kind, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        plots.cross_likelihood(np.array(entry[kind]), entry["sources"], ax=ax)
        ax.set_title(f"{title}, noise {entry['noise']:.3g}")
    save(figure, path)
