"""The exact density of toy waves against a sum over everything that can be drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from studies.exact_toy_prior import ExactToyPrior

from dds_fast.datasets import ToyWaves
from dds_fast.datasets.toy import KEYS, SHAPES, period, wave


@pytest.mark.parametrize("sigma", [0.1, 0.5])
def test_density_by_numerical_integration(sigma: float) -> None:
    n = 5
    prior = ExactToyPrior(n, 1.0).at(sigma).double()
    rng = np.random.default_rng(0)
    s = rng.normal(ToyWaves(n_samples=n)[0], sigma)
    found = prior.log_prob(torch.from_numpy(s)[:, None])[:, 0]
    amplitudes = np.linspace(0.8, 1.0, 201)
    for k, shape in enumerate(SHAPES):
        densities = []
        for key in KEYS["thesis"]:
            p = period(key)
            waves = np.stack([wave(shape, n, p, phase) for phase in range(p)])
            offsets = s[k] - amplitudes[:, None, None] * waves
            logs = scipy.stats.norm.logpdf(offsets, scale=sigma).sum(-1)
            over_amplitudes = scipy.integrate.simpson(np.exp(logs), x=amplitudes, axis=0) / 0.2
            densities.append(over_amplitudes.mean())
        assert float(found[k]) == pytest.approx(math.log(np.mean(densities)), rel=1e-4)


def test_each_wave_is_likeliest_under_its_own_shape() -> None:
    # One period of the lowest key: a shorter piece of a sinusoid may well be one of a triangle.
    prior = ExactToyPrior(534, 0.05)
    waves = ToyWaves(n_samples=534)
    for item in (0, 1, 3):  # in item 2 the triangle's few samples per period are a sinusoid's too
        s = torch.from_numpy(waves[item])
        matrix = torch.stack([prior.log_prob(x.expand(4, 1, -1))[:, 0] for x in s], dim=1)
        assert matrix.argmax(0).tolist() == [0, 1, 2, 3]
