"""Training of a bank: one RealNVP per source, all in one batched program."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from dds_fast.datasets.notes import NoteFrames
from dds_fast.flows.realnvp import RealNVPBank
from dds_fast.flows.training.bank_gradients import bank_gradients
from dds_fast.flows.training.equalizer import equalized
from dds_fast.flows.training.loop import Task, TrainingConfig, product_precision, ranks
from dds_fast.flows.training.losses import bank_loss

VALIDATION_ROWS = 512


class BankTraining(Task):
    """Every source draws `batch_size` of its own frames per step.

    They are reshuffled when they are used up, so all flows take the same number of steps, however
    many frames they have.
    """

    flow: RealNVPBank

    def __init__(
        self,
        bank: RealNVPBank,
        training: NoteFrames,
        validation: NoteFrames,
        config: TrainingConfig,
        device: torch.device,
        gamma: float,
        noise: float = 0.0,
    ) -> None:
        self.flow = bank.to(device)
        self.config, self.device, self.gamma, self.noise = config, device, gamma, noise
        self.n_dims = bank.n_features
        self.groups = [f"source {source}" for source in training.sources]
        self.generator = torch.Generator().manual_seed(config.random_state)
        frames = _per_source(training)
        self.n_frames = [len(x) for x in frames]
        self.frames = torch.cat(frames).to(device)
        longest = max(self.n_frames)
        self.batch_size = min(config.batch_size, longest)
        self.n_batches = math.ceil(longest / self.batch_size)
        held = _per_source(validation)
        self.held = nn.utils.rnn.pad_sequence(held, batch_first=True).to(device)
        self.held = self.held + noise * torch.randn(
            self.held.shape, generator=torch.Generator().manual_seed(config.random_state)
        ).to(device)
        mask = nn.utils.rnn.pad_sequence([torch.ones(len(x)) for x in held], batch_first=True)
        self.held_mask, self.validated = mask.to(device), mask.any(-1)

    def _noisy(self, x: Tensor, n_rows: int) -> Tensor:
        """This rank's share of `n_rows` spectra with white noise, for priors conditioned on it."""
        if self.noise == 0:
            return x
        noise = torch.randn(len(x), n_rows, x.shape[-1], generator=self.generator)
        return x + self.noise * ranks.share(noise, dim=1).to(x, non_blocking=True)

    def batches(self) -> Iterator[tuple[Tensor]]:
        length = self.n_batches * self.batch_size
        orders = torch.stack([_endless_shuffle(n, length, self.generator) for n in self.n_frames])
        firsts = torch.tensor([0, *self.n_frames[:-1]]).cumsum(0)
        orders = (orders + firsts[:, None]).to(self.device)
        for batch in orders.split(self.batch_size, dim=1):
            x = self.frames[ranks.share(batch, dim=1)]
            x = equalized(x, self.batch_size, self.gamma, self.config.equalizer_db, self.generator)
            yield (self._noisy(x, self.batch_size),)

    def gradient(self, *batch: Tensor) -> Tensor:
        (x,) = batch
        precision = self.config.precision
        with product_precision(precision, self.device):
            return bank_gradients(self.flow, x, n_rows=self.batch_size, precision=precision)

    def validate(self) -> Tensor:
        chunks = zip(
            self.held.split(VALIDATION_ROWS, dim=1),
            self.held_mask.split(VALIDATION_ROWS, dim=1),
            strict=True,
        )
        totals = [(bank_loss(self.flow, x) * mask).sum(-1) for x, mask in chunks]
        return (torch.stack(totals).sum(0) / self.held_mask.sum(-1)).cpu()


def _per_source(notes: NoteFrames) -> list[Tensor]:
    frames = torch.from_numpy(notes.frames)
    return [frames[torch.from_numpy(notes.labels == s)] for s in range(len(notes.sources))]


def _endless_shuffle(n: int, length: int, generator: torch.Generator) -> Tensor:
    """`length` indices below `n`, every one used before any is used again."""
    rounds = [torch.randperm(n, generator=generator) for _ in range(math.ceil(length / n))]
    return torch.cat(rounds)[:length]
