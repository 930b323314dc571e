"""Training of waveform priors: crops of the stems of all sources at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dds_fast.datasets.toy import add_noise
from dds_fast.flows.flowavenet import FloWaveNetBank
from dds_fast.flows.training.loop import Task, TrainingConfig, product_precision, ranks


class Stems(Protocol):
    """A data set of ``(S, n)`` stems by index; `ToyWaves` and `StemFolder` are ones."""

    @property
    def sources(self) -> tuple[str, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, item: int) -> np.ndarray: ...


class WaveTraining(Task):
    """Each source draws `batch_size` random crops per step, from items of its own.

    A new bank's ActNorms are set from the data; a bank that was trained before goes on from
    there: that is how priors are tuned to one noise level after the other.

    Args:
        bank: the flows; moved to `device`.
        training: items to draw from.
        validation: items whose first crops validate; none if empty.
        config: batch size, seed and precision.
        device: where to train.
        crop: samples per crop.
        n_batches: steps per epoch.
        noise: standard deviation of the white noise in every crop.
        noise_rule: "thesis" or "code", see `datasets.toy.add_noise`.

    Raises:
        ValueError: an item is shorter than a crop.

    Source: Frank (thesis, 2020); docs/method.md, Relatives.

    Example:
        >>> from dds_fast.datasets import ToyWaves
        >>> from dds_fast.flows.training.loop import train
        >>> waves = ToyWaves(n_items=20, n_samples=64)
        >>> bank = FloWaveNetBank(4, n_blocks=2, n_flows=1, width=4, n_layers=1)
        >>> config = TrainingConfig(max_epochs=1, learning_rate=1e-3, one_cycle=True, batch_size=2)
        >>> task = WaveTraining(bank, waves, [], config, torch.device("cpu"), crop=64, n_batches=2)
        >>> record = train(task, config)
    """

    flow: FloWaveNetBank

    def __init__(
        self,
        bank: FloWaveNetBank,
        training: Stems,
        validation: Stems | list,
        config: TrainingConfig,
        device: torch.device,
        *,
        crop: int = 2048,
        n_batches: int = 100,
        noise: float = 0.0,
        noise_rule: str = "thesis",
    ) -> None:
        self.flow = bank.to(device)
        self.config, self.device = config, device
        self.training, self.crop = training, crop
        self.noise, self.noise_rule = noise, noise_rule
        self.n_dims = crop
        self.groups = [f"source {source}" for source in training.sources]
        self.n_batches = n_batches
        self.validated = torch.full((bank.n_sources,), len(validation) > 0)
        self.generator = torch.Generator().manual_seed(config.random_state)
        if not bank.initialized:
            bank.initialize(self._draw(4 * config.batch_size))
        self.held = None
        if len(validation):
            held = np.stack([validation[i][:, :crop] for i in range(len(validation))], axis=1)
            noisy = add_noise(held, noise, np.random.default_rng(config.random_state), noise_rule)
            self.held = torch.from_numpy(noisy).to(device)

    def _draw(self, n_crops: int) -> Tensor:
        """``(S, n_crops, crop)`` noisy crops."""
        # A checkpoint keeps the state of the generator, so NumPy's is seeded by it.
        random_state = int(torch.randint(1 << 62, (), generator=self.generator))
        rng = np.random.default_rng(random_state)
        crops = np.empty((self.flow.n_sources, n_crops, self.crop), np.float32)
        for source, row in np.ndindex(crops.shape[:2]):
            stem = self.training[int(rng.integers(len(self.training)))][source]
            if len(stem) < self.crop:
                raise ValueError(f"an item of {len(stem)} samples holds no crop of {self.crop}")
            first = int(rng.integers(len(stem) - self.crop + 1))
            crops[source, row] = stem[first : first + self.crop]
        noisy = add_noise(crops, self.noise, rng, self.noise_rule)
        return torch.from_numpy(noisy).to(self.device)

    def batches(self) -> Iterator[tuple[Tensor]]:
        for _ in range(self.n_batches):
            yield (ranks.share(self._draw(self.config.batch_size), dim=1),)

    def gradient(self, *batch: Tensor) -> Tensor:
        (x,) = batch
        self.flow.zero_grad()
        with product_precision(self.config.precision, self.device):
            losses = self._loss(x) / self.config.batch_size
            losses.sum().backward()
        return losses.detach()

    def validate(self) -> Tensor:
        if self.held is None:
            return torch.full((self.flow.n_sources,), torch.nan)
        return (self._loss(self.held) / self.held.shape[1]).cpu()

    def _loss(self, x: Tensor) -> Tensor:
        """``(S,)`` negative log-likelihoods in nats, summed over the rows."""
        latent, log_det = self.flow.densities(x)
        return -(latent + log_det).sum(-1)
