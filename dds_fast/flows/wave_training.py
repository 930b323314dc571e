"""Training of waveform priors: crops of all sources at once, noiseless first, then noisier."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from dds_fast.datasets.toy import add_noise
from dds_fast.flows.flowavenet import FloWaveNetBank


class StemItems(Protocol):
    """A data set of stems: ``(S, n)`` arrays by index, as `ToyWaves` and `StemFolder` are."""

    def __len__(self) -> int: ...

    def __getitem__(self, item: int) -> np.ndarray: ...


@dataclass(frozen=True)
class WaveTrainingConfig:
    """How waveform priors are trained.

    Attributes:
        n_steps: gradient steps.
        learning_rate: Adam's; times 0.6 at five milestones between 0.36 of the steps and the last.
        batch_size: crops per source and step.
        crop: samples per crop.
        noise: standard deviation of the white noise that the priors are conditioned on.
        noise_rule: "thesis" or "code", see `datasets.toy.add_noise`.
        max_gradient: every entry of the gradient is clipped to it.
        seed: of items, crops and noise.
    """

    n_steps: int = 800
    learning_rate: float = 1e-3
    batch_size: int = 4
    crop: int = 2048
    noise: float = 0.0
    noise_rule: str = "thesis"
    max_gradient: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_steps", "batch_size", "crop"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)!r}")
        for name in ("learning_rate", "max_gradient"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name} must be finite and positive, not {getattr(self, name)!r}")


def draw_crops(
    stems: StemItems, n_crops: int, n_samples: int, rng: np.random.Generator
) -> np.ndarray:
    """``(S, n_crops, n_samples)`` random crops of random items, every source from its own item.

    Raises:
        ValueError: an item is shorter than a crop.
    """
    crops = []
    for _ in range(n_crops):
        signals = []
        source, n_sources = 0, 1
        while source < n_sources:
            item = stems[int(rng.integers(len(stems)))]
            n_sources, n = item.shape
            if n < n_samples:
                raise ValueError(f"an item of {n} samples holds no crop of {n_samples}")
            first = int(rng.integers(n - n_samples + 1))
            signals.append(item[source, first : first + n_samples])
            source += 1
        crops.append(np.stack(signals))
    return np.stack(crops, axis=1)


def wave_loss(bank: FloWaveNetBank, x: Tensor) -> Tensor:
    """Negative log-likelihood of ``(S, rows, n)`` windows, ``(S, rows)`` nats per sample."""
    latent, log_det = bank.densities(x)
    return -(latent + log_det) / x.shape[-1]


def train_waves(
    bank: FloWaveNetBank,
    stems: StemItems,
    config: WaveTrainingConfig,
    *,
    progress: bool = False,
) -> dict[str, Any]:
    """Fit the priors of all sources together; a bank that was trained before goes on from there.

    A bank's ActNorms are set from the data by its first training; the parameters stay on their
    device.

    Returns:
        Record of the training: settings, and the mean loss of each twentieth in nats per sample,
        by source.

    Raises:
        FloatingPointError: the loss is no longer finite.

    Source: Frank (thesis, 2020); spec. 12.2.

    Example:
        >>> from dds_fast.datasets import ToyWaves
        >>> bank = FloWaveNetBank(4, n_blocks=2, n_flows=1, width=4, n_layers=1)
        >>> config = WaveTrainingConfig(n_steps=2, crop=64)
        >>> record = train_waves(bank, ToyWaves(n_samples=64), config)
        >>> len(record["history"][0])
        4
    """
    rng = np.random.default_rng(config.seed)
    device = next(bank.parameters()).device

    def batch(n_crops: int) -> Tensor:
        crops = draw_crops(stems, n_crops, config.crop, rng)
        return torch.from_numpy(add_noise(crops, config.noise, rng, config.noise_rule)).to(device)

    if not bank.initialized:
        bank.initialize(batch(4 * config.batch_size))
    optimizer = torch.optim.Adam(bank.parameters(), lr=config.learning_rate)
    milestones = np.linspace(0.36 * config.n_steps, config.n_steps, 5).astype(int)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones.tolist(), gamma=0.6)
    losses = []
    bar = tqdm(range(1, config.n_steps + 1), disable=not progress, unit="step")
    for step in bar:
        loss = wave_loss(bank, batch(config.batch_size)).mean(-1)
        if not torch.isfinite(loss).all():
            raise FloatingPointError(
                f"the training diverged in step {step} (source "
                f"{int((~torch.isfinite(loss)).nonzero()[0])}: loss not finite); lower the "
                f"learning rate ({config.learning_rate:g})"
            )
        optimizer.zero_grad()
        loss.sum().backward()
        nn.utils.clip_grad_value_(bank.parameters(), config.max_gradient)
        optimizer.step()
        schedule.step()
        losses.append(loss.detach().cpu())
        if step % 10 == 0:
            bar.set_postfix_str("nats/sample " + " ".join(f"{v:.2f}" for v in losses[-1].tolist()))
    pieces = np.array_split(torch.stack(losses).numpy(), min(20, len(losses)))
    return {"config": asdict(config), "history": [piece.mean(0).tolist() for piece in pieces]}
