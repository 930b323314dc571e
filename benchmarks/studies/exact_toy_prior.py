"""The density of toy waves with white noise, exactly: what a perfect prior would be."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import Tensor

from dds_fast.datasets.toy import AMPLITUDES, KEYS, SHAPES, period, wave
from dds_fast.methods.priors import Prior
from dds_fast.methods.variational import log_interval


class ExactToyPrior(Prior):
    """A mixture over all keys and phases, its amplitude integrated, for each of the four shapes.

    ``p(x) = sum_c p_c / 0.2 * integral over [0.8, 1] of N(x; a t_c, sigma^2 I) da`` with the waves
    t_c of every key of the thesis and every phase.

    Args:
        n_samples: n, the length of the windows.
        sigma: deviation of the noise, positive.
    """

    n_sources = len(SHAPES)
    waves: Tensor
    energy: Tensor
    log_weights: Tensor

    def __init__(self, n_samples: int, sigma: float) -> None:
        super().__init__()
        periods = [period(key) for key in KEYS["thesis"]]
        waves = np.stack(
            [
                [wave(shape, n_samples, p, phase) for p in periods for phase in range(p)]
                for shape in SHAPES
            ]
        )
        self.sigma = sigma
        self.register_buffer("waves", torch.from_numpy(waves).float())
        self.register_buffer("energy", self.waves.square().sum(-1)[:, None])
        weights = np.concatenate([np.full(p, 1 / (len(periods) * p)) for p in periods])
        self.register_buffer("log_weights", torch.from_numpy(np.log(weights)).float())

    def at(self, sigma: float) -> ExactToyPrior:
        """The same with other noise; the waves, which fill memory, are shared."""
        other = copy.copy(self)
        other.sigma = sigma
        return other

    def log_prob(self, s: Tensor) -> Tensor:
        low, high = AMPLITUDES
        energy, inner = self.energy, s @ self.waves.mT
        # Completing the square in a: a Gaussian around inner / energy, cut to [0.8, 1].
        root = energy.sqrt() / self.sigma
        best = inner / energy
        cut = log_interval((low - best) * root, (high - best) * root)
        exponent = inner.square() / (2 * self.sigma**2 * energy)
        components = self.log_weights + exponent + cut - root.log()
        n = s.shape[-1]
        constant = 0.5 * math.log(2 * math.pi) - math.log(high - low)
        constant -= n * math.log(self.sigma * math.sqrt(2 * math.pi))
        square = s.square().sum(-1) / (2 * self.sigma**2)
        return torch.logsumexp(components, -1) - square + constant
