"""Frame priors are conditioned on noise: training and validation spectra carry it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dds_fast.datasets import NoteFrames
from dds_fast.flows import RealNVPBank
from dds_fast.flows.training.bank import BankTraining
from dds_fast.flows.training.loop import TrainingConfig

CONFIG = TrainingConfig(max_epochs=1, learning_rate=1e-3, one_cycle=False, batch_size=500)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_spectra_carry_white_noise(noise: float) -> None:
    frames = np.full((500, 8), 0.5, np.float32)
    notes = NoteFrames.from_mapping({60: frames, 61: frames})
    task = BankTraining(
        RealNVPBank(2, 8, n_steps=1, width=4, depth=1),
        notes,
        notes,
        CONFIG,
        torch.device("cpu"),
        1e4,
        noise=noise,
    )
    seen = [x for _ in range(2) for (x,) in task.batches()]
    for x in (*seen, task.held):
        # 8000 numbers: the deviation has a standard error of 0.8 %.
        assert x.shape == (2, 500, 8)
        assert float((x - 0.5).std()) == pytest.approx(noise, rel=0.04, abs=1e-7)
        assert float((x - 0.5).mean()) == pytest.approx(0, abs=0.02)
    assert torch.equal(seen[0], seen[1]) == (noise == 0)
    if noise:
        correlation = torch.corrcoef((x - 0.5).permute(2, 0, 1).flatten(1))
        assert float((correlation - torch.eye(8)).abs().max()) < 0.15
