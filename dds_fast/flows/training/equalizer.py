"""Random equalizers: one instrument's spectra as they might sound from another, elsewhere."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dds_fast.flows.training import ranks

N_WAVES = 24


def equalized(
    x: Tensor, n_rows: int, gamma: float, std_db: float, generator: torch.Generator
) -> Tensor:
    """Each log-compressed spectrum through a smooth equalizer of its own.

    The gain in decibels is a constant and `N_WAVES` cosines over the logarithm of the frequency,
    with normal coefficients.

    Args:
        x: ``(..., rows, F)`` spectra, ``log(1 + gamma A) / log(1 + gamma)``: this rank's share.
        n_rows: rows of all ranks together.
        gamma: strength of the compression, 0 for linear magnitudes.
        std_db: standard deviation of the gain, averaged over the octaves; 0 leaves `x` as it is.
        generator: of the coefficients, on the CPU.
    """
    if std_db == 0:
        return x
    F = x.shape[-1]
    position = torch.log2(torch.arange(1, F + 1)) / math.log2(max(F, 2))
    waves = torch.cos(math.pi * torch.arange(N_WAVES + 1)[:, None] * position)
    coefficients = torch.randn(*x.shape[:-2], n_rows, N_WAVES + 1, generator=generator)
    coefficients *= std_db / math.sqrt(1 + N_WAVES / 2)
    decibels = ranks.share(coefficients, dim=-2).to(x, non_blocking=True) @ waves.to(x)
    gain = torch.pow(10.0, decibels / 20)
    if gamma == 0:
        return x * gain
    strength = math.log1p(gamma)
    return torch.log1p(torch.expm1(x * strength) * gain) / strength
