"""A spectrogram and dictionaries for NMF: made notes, which stand for piano spectra."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

F, T = 1024, 300
ENTRIES = (88, 6000, 30_000)


def frames(notes: Tensor, generator: torch.Generator) -> Tensor:
    """``(len(notes), F)`` amplitudes of harmonic tones with random partials."""
    frequencies = torch.arange(1, F + 1) * (8000 / F)
    fundamental = 27.5 * 2 ** (notes / 12)
    tilt = 0.3 + 1.5 * torch.rand(len(notes), generator=generator)
    result = torch.zeros(len(notes), F)
    for partial in range(1, 21):
        centre = fundamental * partial * math.sqrt(1 + 1e-4 * partial**2)
        amplitude = partial**-tilt * (0.3 + torch.rand(len(notes), generator=generator))
        peak = torch.exp(-0.5 * ((frequencies - centre[:, None]) / 12) ** 2)
        result += (amplitude * (centre < 8000))[:, None] * peak
    noise = torch.rand(len(notes), F, generator=generator)
    return result + 0.003 * torch.rand(len(notes), 1, generator=generator) * noise


@cache
def data(N: int) -> tuple[Tensor, Tensor]:
    """``(F, T)`` spectrogram and ``(F, N)`` dictionary."""
    generator = torch.Generator().manual_seed(0)
    W = frames(torch.arange(N) % 88, generator)
    X = torch.zeros(T, F)
    for _ in range(4):
        notes = torch.randint(20, 70, (T // 10,), generator=generator).repeat_interleave(10)
        X += frames(notes, generator) * torch.rand(T, 1, generator=generator)
    X, W = (torch.log1p(1e3 * a).T.contiguous() / math.log1p(1e4) for a in (X, W))
    return X, W
