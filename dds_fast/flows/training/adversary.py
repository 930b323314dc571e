"""The nuisance classifier of a conditional Glow's training: z_n should not tell the source."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from dds_fast.flows.training import ranks


class NuisanceAdversary(nn.Module):
    """A classifier that tries to read the source from z_n, and the loss that misleads it.

    Each batch it takes a few Adam steps on the true labels; then its cross-entropy against labels
    shuffled within the batch is taken off the flow's loss.

    Args:
        n_nuisance: length of z_n, F - S.
        n_sources: S.
        width: units of its two hidden layers; the paper's rule is F / 2.
        learning_rate: of its own Adam.
        n_steps: its steps per batch.

    Source: DDS paper (arXiv 2211.15524), section IV-B, after the independence cross-entropy of
    Jacobsen et al. (2018), Definition 7; docs/method.md, Training.
    """

    def __init__(
        self, n_nuisance: int, n_sources: int, width: int, learning_rate: float, n_steps: int = 5
    ) -> None:
        super().__init__()
        self.classifier = nn.Sequential(
            nn.Linear(n_nuisance, width),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(width, n_sources),
        )
        self.n_steps = n_steps
        self.optimizer = torch.optim.Adam(self.classifier.parameters(), lr=learning_rate)

    def let_capture(self, device: torch.device) -> None:
        """Let a CUDA graph hold the steps of `learn`: on a GPU, Adam then counts them there."""
        capturable = device.type == "cuda"
        for group in self.optimizer.param_groups:
            group["capturable"] = capturable
        for state in self.optimizer.state.values():
            state["step"] = state["step"].to(device if capturable else "cpu")

    def learn(self, nuisance: Tensor, labels: Tensor) -> None:
        """Adam steps on the true labels of ``(rows, F - S)`` codes, which get no gradient."""
        nuisance = nuisance.detach()
        for _ in range(self.n_steps):
            self.optimizer.zero_grad()
            loss = functional.cross_entropy(self.classifier(nuisance), labels, reduction="sum")
            (loss / max(1, len(labels))).backward()
            ranks.average(p.grad for p in self.classifier.parameters() if p.grad is not None)
            self.optimizer.step()

    def confusion(self, nuisance: Tensor, labels: Tensor) -> Tensor:
        """Summed cross-entropy against shuffled labels, with gradient to the codes."""
        shuffled = labels[torch.randperm(len(labels), device=labels.device)]
        return functional.cross_entropy(self.classifier(nuisance), shuffled, reduction="sum")
