"""A batch's clipped gradient: its parts, and the same from a CUDA graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tolerances import error_ratio
from torch import nn

from dds_fast.datasets import NoteFrames
from dds_fast.flows import ConditionalGlow, RealNVPBank
from dds_fast.flows.cuda_graph import WARM_UP
from dds_fast.flows.training.bank import BankTraining
from dds_fast.flows.training.bank_gradients import bank_gradients
from dds_fast.flows.training.glow import GlowTraining
from dds_fast.flows.training.gradient import ClippedGradient, clip_gradients
from dds_fast.flows.training.loop import Task, TrainingConfig, train

CONFIG = TrainingConfig(max_epochs=6, learning_rate=1e-2, one_cycle=True, batch_size=16)


def made(kind: str, config: TrainingConfig, device: torch.device) -> Task:
    rng = np.random.default_rng(0)
    notes = NoteFrames.from_mapping({60: rng.random((50, 10)), 64: 1 + rng.random((40, 10))})
    split = notes.split(config.validation, config.random_state)
    if kind == "dds2":
        bank = RealNVPBank(2, 10, n_steps=2, width=8, depth=1)
        return BankTraining(bank, *split, config, device, 1e4)
    glow = ConditionalGlow(2, 10, n_steps=2, width=8, depth=1)
    return GlowTraining(glow, *split, config, device, 1e4)


@pytest.mark.parametrize("max_norm", [1e-2, 1e6])
def test_each_flow_of_a_bank_is_clipped_by_its_own_norm(max_norm: float) -> None:
    bank = RealNVPBank(3, 10, n_steps=2, width=8, depth=1)
    x = torch.rand(3, 20, 10)
    bank_gradients(bank, x)
    before = [p.grad.clone() for p in bank.parameters()]
    step = ClippedGradient(bank, lambda x: bank_gradients(bank, x), 3, max_norm, x.device)
    losses, norm = step(x)
    torch.testing.assert_close(losses, bank_gradients(bank, x))
    norms = torch.stack([g.reshape(3, -1).square().sum(1) for g in before]).sum(0).sqrt()
    assert error_ratio(norm, norms.mean()) < 1e-6
    losses, _ = step(x)
    for p, g in zip(bank.parameters(), before, strict=True):
        scale = (max_norm / norms).clamp_max(1).view(-1, *[1] * (g.ndim - 1))
        assert error_ratio(p.grad, g * scale) < 1e-6


def test_one_flow_is_clipped_as_torch_does() -> None:
    layer = nn.Linear(4, 3)
    layer(torch.ones(2, 4)).square().sum().backward()
    expected = [p.grad.clone() for p in layer.parameters()]
    norm = clip_gradients(layer, 1, 0.5)
    scale = 0.5 / torch.cat([g.flatten() for g in expected]).norm()
    assert error_ratio(norm, 0.5 / scale) < 1e-6
    for p, g in zip(layer.parameters(), expected, strict=True):
        assert error_ratio(p.grad, g * scale) < 1e-5


PRECISIONS = ("float32", "tf32", "bfloat16")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", ["dds2", "dds3"])
def test_a_graph_gives_the_gradient_of_its_function(kind: str, precision: str) -> None:
    """Warm-up, capture and replays; the Glow's last batch is smaller and runs as it is."""
    task = made(kind, replace(CONFIG, precision=precision), torch.device("cuda"))
    n_groups = len(task.groups)
    step = ClippedGradient(task.flow, task.gradient, n_groups, 0.1, task.device)
    batches = [batch for _ in range(3) for batch in task.batches()]
    assert len(batches) > WARM_UP + 2
    for batch in batches:
        losses, norm = step(*batch)
        gradients = [p.grad.clone() for p in task.flow.parameters()]
        expected = task.gradient(*batch)
        assert error_ratio(losses, expected) < 1e-6
        assert error_ratio(norm, clip_gradients(task.flow, n_groups, 0.1)) < 1e-6
        for p, gradient in zip(task.flow.parameters(), gradients, strict=True):
            assert error_ratio(gradient, p.grad) < 1e-5
    assert step.run.captured


@pytest.mark.gpu
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", ["dds2", "dds3"])
def test_a_graph_trains_as_its_function(
    kind: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adam's first steps are as long for rounding errors as for gradients: hence the room."""
    config = replace(CONFIG, precision=precision)
    states = []
    for graphed in (True, False):
        if not graphed:
            monkeypatch.setattr(
                "dds_fast.flows.training.gradient.Graphed", lambda function, _: function
            )
        task = made(kind, config, torch.device("cuda"))
        record = train(task, config)
        losses = torch.tensor([row["training"] for row in record["history"]])
        states.append([losses, *(p.detach().cpu() for p in task.flow.parameters())])
    for a, b in zip(*states, strict=True):
        assert error_ratio(a, b) < 1e-3


@pytest.mark.gpu
def test_the_nuisance_classifier_is_part_of_the_graph() -> None:
    """Other shuffles and dropouts in every replay, so only that it learns."""
    config = replace(CONFIG, nuisance_weight=0.1, max_epochs=30)
    task = made("dds3", config, torch.device("cuda"))
    record = train(task, config)
    assert record["history"][-1]["training"] < record["history"][0]["training"]
    steps = {int(state["step"]) for state in task.adversary.optimizer.state.values()}
    assert steps == {config.max_epochs * task.n_batches * task.adversary.n_steps}
