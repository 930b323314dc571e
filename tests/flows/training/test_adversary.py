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


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def test_learning_is_five_adam_steps_by_hand() -> None:
    torch.manual_seed(0)
    z, labels = codes()
    adversary = NuisanceAdversary(6, 2, 16, learning_rate=1e-2).double().eval()
    weights = [p.detach().numpy().copy() for p in adversary.parameters()]
    x, target = z.double().numpy(), np.eye(2)[labels.numpy()]
    adversary.learn(z.double(), labels)
    first, second = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    for step in range(1, 6):
        w1, b1, w2, b2, w3, b3 = weights
        h1 = np.maximum(x @ w1.T + b1, 0)
        h2 = np.maximum(h1 @ w2.T + b2, 0)
        d3 = (np.exp(log_softmax(h2 @ w3.T + b3)) - target) / len(x)
        d2 = (d3 @ w3) * (h2 > 0)
        d1 = (d2 @ w2) * (h1 > 0)
        pairs = ((d1, x), (d2, h1), (d3, h2))
        gradients = [g for d, h in pairs for g in (d.T @ h, d.sum(0))]
        for w, m, v, g in zip(weights, first, second, gradients, strict=True):
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            w -= 1e-2 * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    for found, expected in zip(adversary.parameters(), weights, strict=True):
        np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-7, atol=1e-9)


def test_confusion_is_against_labels_shuffled_in_the_batch() -> None:
    torch.manual_seed(0)
    z, labels = codes()
    adversary = NuisanceAdversary(6, 2, 16, learning_rate=1e-2).eval()
    for _ in range(30):
        adversary.learn(z, labels)
    log_p = log_softmax(adversary.classifier(z).detach().double().numpy())
    torch.manual_seed(3)
    shuffled = labels[torch.randperm(len(labels))].numpy()
    torch.manual_seed(3)
    found = adversary.confusion(z, labels).item()
    assert found == pytest.approx(-log_p[np.arange(len(z)), shuffled].sum(), rel=1e-5)
    # On the true labels it would be small: the classifier reads them.
    assert found > -10 * log_p[np.arange(len(z)), labels.numpy()].sum()


def test_the_flow_is_charged_its_likelihood_less_the_weighted_confusion() -> None:
    """The paper's loss with its weight 1e4 on the mean squared error at S = 60, by hand."""
    S, F, n = 60, 64, 30
    rng = np.random.default_rng(0)
    notes = NoteFrames.from_mapping({36 + s: rng.random((n, F)) for s in range(S)})
    flow = ConditionalGlow(S, F, n_steps=1, width=8, depth=1)
    config = replace(CONFIG, nuisance_weight=0.5)
    task = GlowTraining(flow, *notes.split(0.1), config, torch.device("cpu"), 1e4)
    assert task.adversary is not None
    task.adversary.double().eval().n_steps = 0
    x, labels = torch.from_numpy(notes.frames[::9]).double(), torch.from_numpy(notes.labels[::9])
    z, log_det = (value.detach().numpy() for value in flow.double().encode(x))
    semantic, nuisance = z[:, :S], z[:, S:]
    error = np.square(semantic - np.eye(S)[labels.numpy()]).mean()
    density = -0.5 * (nuisance**2).sum(1) - 0.5 * (F - S) * math.log(2 * math.pi)
    log_p = log_softmax(task.adversary.classifier(torch.from_numpy(nuisance)).detach().numpy())
    torch.manual_seed(3)
    shuffled = labels[torch.randperm(len(labels))].numpy()
    confusion = -log_p[np.arange(len(z)), shuffled].mean()
    expected = -(density + log_det).mean() + 1e4 * error - 0.5 * confusion
    torch.manual_seed(3)
    found = task._loss(x, labels).item() / len(x)
    assert found == pytest.approx(expected, rel=1e-10)


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


def test_a_glow_begins_at_its_training_frames() -> None:
    """Every ActNorm standardises what reaches it; a bin that hardly varies is scaled by 100."""
    rng = np.random.default_rng(0)
    frames = rng.random((2, 50, 10)) * np.arange(1, 11)
    frames[..., 3] = 0.5 + 0.001 * frames[..., 3]
    notes = NoteFrames.from_mapping({60: frames[0], 64: frames[1]})
    flow = ConditionalGlow(2, 10, n_steps=2, width=8, depth=1)
    GlowTraining(flow, *notes.split(0.1), CONFIG, torch.device("cpu"), 1e4)
    x = notes.split(0.1)[0].frames.astype(np.float64)
    first, second = (step.actnorm for step in flow.steps)
    np.testing.assert_allclose(first.bias.detach(), -x.mean(0), rtol=1e-5)
    scales = 1 / np.maximum(x.std(0, ddof=1), 0.01)
    np.testing.assert_allclose(first.log_scale.detach().exp(), scales, rtol=1e-5)
    assert scales[3] == 100
    with torch.no_grad():
        reached = second.encode(flow.steps[0].encode(torch.from_numpy(x).float())[0]).numpy()
    np.testing.assert_allclose(reached.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(reached.std(0, ddof=1), 1, rtol=1e-5)
