"""How likely a source sounds in a frame, and is struck there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from dds_fast.temporal.features import N_FEATURES, NAMES

MEMBERS = 4
"""Networks side by side, of which the mean counts: one alone leans on how it began."""

WIDTH = 32
LAYERS = ((N_FEATURES, WIDTH, 5, 1), (WIDTH, WIDTH, 5, 2), (WIDTH, WIDTH, 3, 6), (WIDTH, 2, 1, 1))
"""A member's channels in and out, taps and dilation of the convolutions along time: 12 frames
either way."""

OWN_LEVEL = NAMES.index("own level")
DECIBELS = 20 / math.log(10)

SILENT = -15.0
"""Logit of what a search left without a trace."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What speaks for notes.

    Attributes:
        sounding: ``(S, T)`` logits: does the source sound in the frame?
        struck: ``(S, T)`` logits: does a note of it begin in the frame?
        level: ``(S, T)`` of the source's part of the spectrum, in dB.

    Example:
        >>> nothing = Evidence.nothing(2, 5)
        >>> nothing.sounding.shape, float(nothing.struck.max())
        ((2, 5), -15.0)
    """

    sounding: np.ndarray
    struck: np.ndarray
    level: np.ndarray

    @property
    def probability(self) -> np.ndarray:
        """``(S, T)`` probability that the source sounds."""
        return 1 / (1 + np.exp(-self.sounding))

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All three."""
        return self.sounding, self.struck, self.level

    @classmethod
    def nothing(cls, n_sources: int, n_frames: int) -> Evidence:
        """That of silence."""
        sounding, struck = np.full((2, n_sources, n_frames), SILENT, dtype=np.float32)
        return cls(sounding, struck, np.zeros((n_sources, n_frames), dtype=np.float32))


class NoteNetwork(nn.Module):
    """Convolutions along time, the same for all sources.

    Its first outputs are brought to such a scale that 0 is where a note is worth finding.

    Example:
        >>> network = NoteNetwork()
        >>> network(torch.zeros(4, N_FEATURES, 100)).shape
        torch.Size([4, 2, 100])
    """

    mean: Tensor
    scale: Tensor
    offset: Tensor

    def __init__(self, random_state: int = 0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(N_FEATURES, 1))
        self.register_buffer("scale", torch.ones(N_FEATURES, 1))
        self.register_buffer("offset", torch.zeros(2, 1))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_state)
            self.layers = nn.ModuleList(
                nn.Conv1d(
                    MEMBERS * n_in,
                    MEMBERS * n_out,
                    taps,
                    dilation=dilation,
                    padding=dilation * (taps // 2),
                    groups=MEMBERS,
                )
                for n_in, n_out, taps, dilation in LAYERS
            )

    def members(self, features: Tensor) -> Tensor:
        """``(L, MEMBERS, 2, T)``: what each says, without the offset."""
        x = (features - self.mean) / self.scale
        return torch.stack([self._member(index, x) for index in range(MEMBERS)], dim=1)

    def _member(self, index: int, x: Tensor) -> Tensor:
        # One after the other: on a CPU faster than a convolution by groups.
        for layer, (_, n_out, taps, dilation) in zip(self.layers, LAYERS, strict=True):
            weight, bias = (one.unflatten(0, (MEMBERS, n_out))[index] for one in layer.parameters())
            padding = dilation * (taps // 2)
            x = functional.conv1d(x, weight, bias, padding=padding, dilation=dilation)
            x = x if layer is self.layers[-1] else x.relu()
        return x

    def forward(self, features: Tensor) -> Tensor:
        """``(L, 2, T)``: logits of sounding and of being struck."""
        return self.members(features).mean(1) + self.offset

    @torch.no_grad()
    def evidence(self, rows: np.ndarray, features: np.ndarray, n_sources: int) -> Evidence:
        """What the features of some of the sources say.

        Raises:
            ValueError: nothing finite, as of parameters that were damaged.
        """
        found = Evidence.nothing(n_sources, features.shape[2])
        if len(rows):
            logits = self(torch.from_numpy(features)).numpy()
            if not np.isfinite(logits).all():
                raise ValueError("what the dictionary's network says of the notes is not finite")
            logits = np.clip(logits, SILENT, -SILENT)
            found.sounding[rows], found.struck[rows] = logits[:, 0], logits[:, 1]
            found.level[rows] = DECIBELS * features[:, OWN_LEVEL]
        return found

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor]) -> NoteNetwork:
        """From the tensors of its `state_dict`.

        Raises:
            ValueError: one is missing, unknown or of another shape.
        """
        network = cls()
        for name, own in network.state_dict().items():
            given = tensors.get(name)
            if given is None or given.shape != own.shape or not given.is_floating_point():
                what = "missing" if given is None else f"{given.dtype} {tuple(given.shape)}"
                raise ValueError(f"{name} must be floats {tuple(own.shape)}, not {what}")
        if unknown := tensors.keys() - network.state_dict().keys():
            raise ValueError(f"{min(unknown)} is unknown")
        if not bool((tensors["scale"] > 0).all()):
            raise ValueError("scale must be above 0")
        network.load_state_dict(dict(tensors))
        return network
