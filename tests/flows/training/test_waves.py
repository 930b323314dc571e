"""Waveform priors learn, go on after being killed, and meet the noise they are given."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from dds_fast.datasets import ToyWaves
from dds_fast.flows import FloWaveNetBank
from dds_fast.flows.training.loop import TrainingConfig, train
from dds_fast.flows.training.waves import WaveTraining
from dds_fast.methods.priors import BankPrior, cross_likelihood

CPU = torch.device("cpu")
CONFIG = TrainingConfig(
    max_epochs=2, learning_rate=3e-3, one_cycle=False, batch_size=2, max_norm=1e4
)


def bank(random_state: int = 0) -> FloWaveNetBank:
    return FloWaveNetBank(4, n_blocks=2, n_flows=1, width=4, n_layers=2, random_state=random_state)


def task(
    flow: FloWaveNetBank, config: TrainingConfig = CONFIG, n_batches: int = 3, n_held: int = 2
) -> WaveTraining:
    held = ToyWaves(n_items=n_held, n_samples=64, random_state=1) if n_held else []
    waves = ToyWaves(n_items=50, n_samples=80, keys="code")
    return WaveTraining(flow, waves, held, config, CPU, crop=64, n_batches=n_batches)


def test_own_waves_become_likelier_than_others() -> None:
    flow = bank()
    config = dataclasses.replace(CONFIG, max_epochs=1, batch_size=8)
    train(task(flow, config, n_batches=100), config)
    waves = ToyWaves(n_items=30, n_samples=64, keys="code", random_state=2)
    clips = torch.from_numpy(np.stack([waves[i] for i in range(30)], axis=1))
    matrix = cross_likelihood(BankPrior(flow), clips)
    # Sinusoids are the smoothest: squares and saws have jumps that their prior has never met.
    assert matrix[0, 0] > matrix[0, 1] + 0.05 and matrix[0, 0] > matrix[0, 2] + 0.05


def test_loss_is_the_mean_negative_log_likelihood() -> None:
    made = task(bank())
    x = torch.from_numpy(ToyWaves(n_items=2, n_samples=64, random_state=1)[0])[:, None]
    y = torch.from_numpy(ToyWaves(n_items=2, n_samples=64, random_state=1)[1])[:, None]
    with torch.no_grad():
        density = BankPrior(made.flow).log_prob(torch.cat([x, y], dim=1))
        torch.testing.assert_close(made.validate(), -density.mean(1))


def test_gradients_of_an_epoch_are_those_of_its_batches() -> None:
    first, second = task(bank()), task(bank())
    for batch in first.batches():
        losses = first.gradient(*batch)
        x = second._draw(CONFIG.batch_size)
        second.flow.zero_grad()
        expected = -BankPrior(second.flow).log_prob(x).mean(1)
        expected.sum().backward()
        torch.testing.assert_close(losses, expected.detach())
        pairs = zip(first.flow.parameters(), second.flow.parameters(), strict=True)
        assert all(torch.equal(a.grad, b.grad) for a, b in pairs)


def test_a_killed_training_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    whole, parts = bank(), bank()
    train(task(whole), CONFIG)
    identity = {"max_epochs": None}
    train(
        task(parts), dataclasses.replace(CONFIG, max_epochs=1), identity=identity, folder=tmp_path
    )
    again = bank(random_state=5)
    train(task(again), CONFIG, identity=identity, folder=tmp_path)
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_trained_bank_keeps_its_actnorms() -> None:
    flow = bank()
    task(flow)
    before = flow.blocks[0][0].shift.clone()
    with torch.no_grad():
        flow.blocks[0][0].shift += 1
    task(flow)
    assert torch.equal(flow.blocks[0][0].shift, before + 1)


@pytest.mark.parametrize(("rule", "highest"), [("thesis", 5.0), ("code", 1.0)])
def test_crops_carry_the_noise(rule: str, highest: float) -> None:
    waves = ToyWaves(n_items=50, n_samples=80)
    made = WaveTraining(bank(), waves, [], CONFIG, CPU, crop=64, noise=1.0, noise_rule=rule)
    x = made._draw(100)
    assert x.shape == (4, 100, 64) and float(x.abs().max()) <= highest
    jumps = (x[0, :, 1:] - x[0, :, :-1]).std()
    assert float(jumps) > 0.5
    assert not torch.equal(x, made._draw(100))


def test_without_validation_and_with_short_items() -> None:
    flow = bank()
    record = train(task(flow, n_held=0), CONFIG)
    assert len(record["history"]) == 2
    with pytest.raises(ValueError, match="an item of 40 samples holds no crop of 64"):
        WaveTraining(bank(), ToyWaves(n_samples=40), [], CONFIG, CPU, crop=64)
