"""Random equalizers of training spectra."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dds_fast.audio import SpectrogramConfig, compress, expand
from dds_fast.flows.training.equalizer import equalized


def draw(x: torch.Tensor, gamma: float, std_db: float, random_state: int = 0) -> torch.Tensor:
    return equalized(x, x.shape[-2], gamma, std_db, torch.Generator().manual_seed(random_state))


@pytest.mark.parametrize("gamma", [0.0, 1.0, 1e4])
def test_gains_are_smooth_and_of_the_given_size(gamma: float) -> None:
    config = SpectrogramConfig(n_fft=1024, gamma=gamma)
    magnitude = torch.rand(400, 512, dtype=torch.float64) * 100 + 1
    x = torch.from_numpy(compress(magnitude.numpy(), config))
    gain = torch.from_numpy(expand(draw(x, gamma, 4.0).numpy(), config)) / magnitude
    decibels = 20 * torch.log10(gain)
    octaves = decibels[:, [0, 1, 3, 7, 15, 31, 63, 127, 255, 511]]
    # 400 draws of each octave's deviation, which varies over the octaves by the waves' squares.
    assert float(octaves.square().mean().sqrt()) == pytest.approx(4.0, rel=0.15)
    assert float(decibels.mean().abs()) < 0.5
    assert float(decibels[:, 100:].diff(dim=1).abs().max()) < 2.0


def test_gains_by_hand() -> None:
    """Cosines over the octaves, whose squares add up to the variance asked for."""
    found = 20 * torch.log10(draw(torch.ones(1, 16, dtype=torch.float64), 0.0, 4.0))[0]
    drawn = torch.randn(1, 25, generator=torch.Generator().manual_seed(0))[0].double().numpy()
    position = np.log2(np.arange(1, 17)) / 4
    waves = np.cos(np.pi * np.arange(25)[:, None] * position)
    # A constant has a square of 1, each of 24 cosines one of 1/2.
    np.testing.assert_allclose(found, drawn @ waves * 4 / math.sqrt(13), rtol=1e-4, atol=1e-4)


def test_silence_stays_silent_and_values_stay_finite() -> None:
    x = torch.tensor([[0.0, 1e-8, 0.5, 1.0]])
    out = draw(x, 1e4, 20.0)
    assert out[0, 0] == 0
    assert bool(torch.isfinite(out).all()) and float(out.min()) >= 0


def test_seeds_and_rows_have_equalizers_of_their_own() -> None:
    x = torch.full((3, 2, 16), 0.5)
    first = draw(x, 1e4, 4.0)
    assert torch.equal(first, draw(x, 1e4, 4.0))
    assert len(torch.unique(first.flatten(0, 1), dim=0)) == 6
    assert not torch.equal(first, draw(x, 1e4, 4.0, random_state=1))


def test_none() -> None:
    x = torch.rand(4, 8)
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    assert equalized(x, 4, 1e4, 0.0, generator) is x
    assert torch.equal(generator.get_state(), before)


def test_one_bin() -> None:
    assert draw(torch.ones(2, 1), 1e4, 4.0).shape == (2, 1)
    assert math.isfinite(float(np.sum(draw(torch.ones(2, 1), 0.0, 4.0).numpy())))
