"""The nuisance classifier of a conditional Glow's training."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from dds_fast.datasets import NoteFrames
from dds_fast.fit import PRESETS
from dds_fast.flows import ConditionalGlow
from dds_fast.flows.training.adversary import NuisanceAdversary
from dds_fast.flows.training.glow import GlowTraining
from dds_fast.flows.training.loop import TrainingConfig, train

CONFIG = TrainingConfig(max_epochs=3, learning_rate=1e-3, one_cycle=False, batch_size=32)


def codes() -> tuple[torch.Tensor, torch.Tensor]:
    """Codes whose first dim gives the source away."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 2
    z = torch.randn(200, 6, generator=generator)
    z[:, 0] += 6.0 * labels
    return z, labels


def test_it_learns_to_read_the_source() -> None:
    torch.manual_seed(0)
    z, labels = codes()
    adversary = NuisanceAdversary(6, 2, 16, learning_rate=1e-2)
    for _ in range(30):
        adversary.learn(z, labels)
    adversary.eval()
    assert (adversary.classifier(z).argmax(1) == labels).float().mean() > 0.95


def test_learning_leaves_the_codes_alone() -> None:
    z, labels = codes()
    z.requires_grad_()
    NuisanceAdversary(6, 2, 16, learning_rate=1e-2).learn(z, labels)
    assert z.grad is None


def test_confusion_reaches_the_codes_and_not_the_optimizer() -> None:
    torch.manual_seed(0)
    z, labels = codes()
    z.requires_grad_()
    adversary = NuisanceAdversary(6, 2, 16, learning_rate=1e-2).eval()
    before = [p.detach().clone() for p in adversary.parameters()]
    confusion = adversary.confusion(z, labels)
    confusion.backward()
    assert math.isclose(confusion.item() / len(z), math.log(2), abs_tol=0.5)
    assert z.grad is not None and bool(z.grad.any())
    assert all(torch.equal(a, b) for a, b in zip(before, adversary.parameters(), strict=True))


def trained(config: TrainingConfig) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(0)
    notes = NoteFrames.from_mapping({60: rng.random((60, 10)), 64: 1 + rng.random((60, 10))})
    flow = ConditionalGlow(2, 10, n_steps=2, width=8, depth=1)
    task = GlowTraining(flow, *notes.split(config.validation), config, torch.device("cpu"), 1e4)
    train(task, config)
    return flow.state_dict()


def test_the_weight_matters_and_the_seed_decides() -> None:
    without = trained(CONFIG)
    config = replace(CONFIG, nuisance_weight=0.5)
    torch.manual_seed(11)
    first = trained(config)
    torch.manual_seed(12)
    second = trained(config)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], without[name]) for name in first)


@pytest.mark.parametrize("preset", ["paper-512", "paper-1024"])
def test_the_papers_presets_have_it(preset: str) -> None:
    assert PRESETS[preset].training["dds3"].nuisance_weight == 0.05
    assert PRESETS[preset].training["dds2"].nuisance_weight == 0
