"""Training of a class-conditional Glow on the notes of all sources."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dds_fast.datasets.notes import NoteFrames
from dds_fast.flows.glow import ConditionalGlow
from dds_fast.flows.training.adversary import NuisanceAdversary
from dds_fast.flows.training.equalizer import equalized
from dds_fast.flows.training.loop import Task, TrainingConfig, product_precision, ranks
from dds_fast.flows.training.losses import glow_loss, log_density, semantic_loss

INITIAL_ROWS = 8192
VALIDATION_ROWS = 2048


class GlowTraining(Task):
    """Batches of frames of any source; validated without the adversarial term, which is noisy."""

    flow: ConditionalGlow

    def __init__(
        self,
        flow: ConditionalGlow,
        training: NoteFrames,
        validation: NoteFrames,
        config: TrainingConfig,
        device: torch.device,
        gamma: float,
    ) -> None:
        self.flow = flow.to(device)
        self.config, self.device, self.gamma = config, device, gamma
        self.n_dims = flow.n_features
        self.groups = ["the flow"]
        self.generator = torch.Generator().manual_seed(config.random_state)
        self.frames, self.labels, self.held_frames, self.held_labels = (
            torch.from_numpy(array).to(device)
            for array in (
                training.frames,
                training.labels,
                validation.frames,
                validation.labels,
            )
        )
        self.n_batches = math.ceil(len(self.frames) / config.batch_size)
        self.validated = torch.tensor([len(self.held_frames) > 0])
        first = torch.randperm(len(self.frames), generator=self.generator)[:INITIAL_ROWS]
        self.flow.initialize(self.frames[first.to(device)])
        self.adversary = None
        if config.nuisance_weight > 0:
            S, F = flow.n_sources, flow.n_features
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(config.random_state)
                self.adversary = NuisanceAdversary(F - S, S, max(1, F // 2), config.learning_rate)
            self.adversary.to(device).let_capture(device)

    def batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        order = torch.randperm(len(self.frames), generator=self.generator).to(self.device)
        for batch in order.split(self.config.batch_size):
            rows = ranks.share(batch, dim=0)
            x = equalized(
                self.frames[rows],
                len(batch),
                self.gamma,
                self.config.equalizer_db,
                self.generator,
            )
            yield x, self.labels[rows], torch.full((), len(batch), device=self.device)

    def gradient(self, *batch: Tensor) -> Tensor:
        x, labels, n_rows = batch  # rows of all ranks
        self.flow.zero_grad()
        with product_precision(self.config.precision, self.device):
            loss = self._loss(x, labels) / n_rows
            # The backward's products have the dtypes of the forward's, chosen there.
            with torch.autocast(self.device.type, enabled=False):
                loss.backward()
        return loss.detach()[None]

    def _loss(self, x: Tensor, labels: Tensor) -> Tensor:
        """Summed over the rows."""
        z, log_det = self.flow.encode(x)
        semantic, nuisance = z.tensor_split([self.flow.n_sources], dim=-1)
        loss = (semantic_loss(semantic, labels) - log_density(nuisance) - log_det).sum()
        if self.adversary is not None:
            self.adversary.learn(nuisance, labels)
            confusion = self.adversary.confusion(nuisance, labels)
            loss = loss - self.config.nuisance_weight * confusion
        return loss

    def validate(self) -> Tensor:
        chunks = zip(
            self.held_frames.split(VALIDATION_ROWS),
            self.held_labels.split(VALIDATION_ROWS),
            strict=True,
        )
        return torch.cat([glow_loss(self.flow, x, y) for x, y in chunks]).mean()[None].cpu()

    def extra_state(self) -> dict[str, Any]:
        if self.adversary is None:
            return {}
        return {
            "adversary": self.adversary.state_dict(),
            "adversary_optimizer": self.adversary.optimizer.state_dict(),
        }

    def restore_extra_state(self, state: dict[str, Any]) -> None:
        if self.adversary is not None:
            self.adversary.load_state_dict(state["adversary"])
            self.adversary.optimizer.load_state_dict(state["adversary_optimizer"])
            self.adversary.let_capture(self.device)
