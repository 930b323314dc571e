"""Flows on short waveforms: affine couplings with a dilated convolution net, for all sources."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from dds_fast import scalars

LOG_2_PI = math.log(2 * math.pi)


class GroupedConv(nn.Module):
    """A convolution per source, of odd kernel and unchanged length, on ``(R, S, C, L)``."""

    def __init__(
        self,
        n_groups: int,
        n_in: int,
        n_out: int,
        kernel: int = 1,
        dilation: int = 1,
        zero: bool = False,
    ) -> None:
        super().__init__()
        bound = 0.0 if zero else 1 / math.sqrt(n_in * kernel)
        self.weight = nn.Parameter(
            torch.empty(n_groups, n_out, n_in, kernel).uniform_(-bound, bound)
        )
        self.bias = nn.Parameter(torch.empty(n_groups, n_out).uniform_(-bound, bound))
        self.dilation = dilation

    def forward(self, x: Tensor) -> Tensor:
        n_groups, _, _, kernel = self.weight.shape
        y = functional.conv1d(
            x.flatten(1, 2),
            self.weight.flatten(0, 1),
            self.bias.flatten(),
            padding=self.dilation * (kernel // 2),
            dilation=self.dilation,
            groups=n_groups,
        )
        return y.unflatten(1, (n_groups, -1))


class WaveNet(nn.Module):
    """A non-causal WaveNet: gated dilated convolutions whose skips make the output.

    Starts at zero, so that a coupling starts as the identity.
    """

    def __init__(
        self, n_groups: int, n_in: int, n_out: int, width: int, n_layers: int, kernel: int = 3
    ) -> None:
        super().__init__()
        self.front = GroupedConv(n_groups, n_in, width, kernel)
        self.gated = nn.ModuleList(
            GroupedConv(n_groups, width, 2 * width, kernel, dilation=2**layer)
            for layer in range(n_layers)
        )
        self.onward = nn.ModuleList(
            GroupedConv(n_groups, width, 2 * width) for _ in range(n_layers)
        )
        self.hidden = GroupedConv(n_groups, width, width)
        self.out = GroupedConv(n_groups, width, n_out, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.front(x).relu()
        skips = torch.zeros_like(x)
        for gated, onward in zip(self.gated, self.onward, strict=True):
            filtered, gate = gated(x).chunk(2, dim=2)
            residual, skip = onward(filtered.tanh() * gate.sigmoid()).chunk(2, dim=2)
            x = (x + residual) * math.sqrt(0.5)
            skips = skips + skip
        return self.out(self.hidden(skips.relu()).relu())


class WaveCoupling(nn.Module):
    """ActNorm, affine coupling, exchange of the halves, on ``(R, S, C, L)``."""

    def __init__(self, n_groups: int, n_channels: int, width: int, n_layers: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(n_groups, n_channels, 1))
        self.log_scale = nn.Parameter(torch.zeros(n_groups, n_channels, 1))
        self.net = WaveNet(n_groups, n_channels // 2, n_channels, width, n_layers)

    @torch.no_grad()
    def initialize(self, x: Tensor, floor: float) -> None:
        """Zero mean and unit variance of every channel; deviations below `floor` are raised."""
        self.shift.copy_(-x.mean((0, 3))[..., None])
        self.log_scale.copy_(-x.std((0, 3))[..., None].clamp_min(floor).log())

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kept, moved = ((x + self.shift) * self.log_scale.exp()).chunk(2, dim=2)
        log_s, t = self.net(kept).chunk(2, dim=2)
        y = torch.cat([(moved - t) * torch.exp(-log_s), kept], dim=2)
        return y, self.log_scale.sum((1, 2)) * x.shape[-1] - log_s.sum((2, 3))

    def decode(self, y: Tensor) -> tuple[Tensor, Tensor]:
        moved, kept = y.chunk(2, dim=2)
        log_s, t = self.net(kept).chunk(2, dim=2)
        x = torch.cat([kept, moved * torch.exp(log_s) + t], dim=2)
        x = x * torch.exp(-self.log_scale) - self.shift
        return x, log_s.sum((2, 3)) - self.log_scale.sum((1, 2)) * y.shape[-1]


class FloWaveNetBank(nn.Module):
    """S independent flows on waveform windows, with grouped convolutions: trained and run together.

    Each block halves the length (two neighbouring samples become two channels) and applies
    `n_flows` couplings. After every second block but the last, half of the channels leave as
    latent code; their Gaussian has a mean and a scale that a small net reads from the other half.

    Args:
        n_sources: S.
        n_blocks: context blocks; windows are a multiple of ``2 ** n_blocks`` samples.
        n_flows: couplings per block.
        width: channels of the convolution nets.
        n_layers: gated layers of each net, dilated by 1, 2, 4, ...
        random_state: seed of the initial weights.

    Raises:
        ValueError: a size below 1.

    Source: Kim et al., FloWaveNet (arXiv 1811.02155), as used by Frank (thesis, 2020) for source
    priors: 4 blocks of 6 flows, 10 layers, width 32 for toy waves; docs/method.md, Relatives.

    Example:
        >>> bank = FloWaveNetBank(2, n_blocks=2, n_flows=1, width=4, n_layers=2)
        >>> z, log_det = bank.encode(torch.rand(2, 5, 16))
        >>> z.shape, log_det.shape
        (torch.Size([2, 5, 16]), torch.Size([2, 5]))
    """

    initialized: Tensor

    def __init__(
        self,
        n_sources: int,
        n_blocks: int = 4,
        n_flows: int = 6,
        width: int = 32,
        n_layers: int = 10,
        random_state: int = 0,
    ) -> None:
        super().__init__()
        self.hyperparameters = {
            "n_sources": scalars.integer("n_sources", n_sources, least=1),
            "n_blocks": scalars.integer("n_blocks", n_blocks, least=1),
            "n_flows": scalars.integer("n_flows", n_flows, least=1),
            "width": scalars.integer("width", width, least=1),
            "n_layers": scalars.integer("n_layers", n_layers, least=1),
        }
        n_sources, n_blocks, n_flows, width, n_layers = self.hyperparameters.values()
        self.n_sources = n_sources
        self.register_buffer("initialized", torch.tensor(False))
        blocks = nn.ModuleList()
        self.blocks = cast("Sequence[Sequence[WaveCoupling]]", blocks)
        self.splits = nn.ModuleDict()
        channels = 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_state)
            for block in range(n_blocks):
                channels *= 2
                blocks.append(
                    nn.ModuleList(
                        WaveCoupling(n_sources, channels, width, n_layers) for _ in range(n_flows)
                    )
                )
                if block % 2 == 1 and block + 1 < n_blocks:
                    channels //= 2
                    self.splits[str(block)] = WaveNet(
                        n_sources, channels, 2 * channels, width, n_layers=2
                    )

    def _rows(self, x: Tensor) -> Tensor:
        """``(S, R, n)`` windows as ``(R, S, 1, n)``."""
        multiple = 2 ** len(self.blocks)
        if x.ndim != 3 or x.shape[0] != self.n_sources:
            raise ValueError(f"expected ({self.n_sources}, rows, n) windows, not {tuple(x.shape)}")
        if x.shape[-1] == 0 or x.shape[-1] % multiple:
            raise ValueError(
                f"a window must be a multiple of {multiple} samples long, not {x.shape[-1]}"
            )
        return x.transpose(0, 1)[:, :, None]

    @torch.no_grad()
    def initialize(self, x: Tensor, floor: float = 0.01) -> None:
        """Set every ActNorm from ``(S, R, n)`` data, step by step."""
        h = self._rows(x)
        for block, flows in enumerate(self.blocks):
            h = _squeeze(h)
            for flow in flows:
                flow.initialize(h, floor)
                h, _ = flow.encode(h)
            if str(block) in self.splits:
                h, _ = h.chunk(2, dim=2)
        self.initialized.fill_(True)

    def _encode(self, x: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """Standardised parts of the code, log-det of the couplings, log-scales of the priors."""
        h = self._rows(x)
        log_det, log_scale = h.new_zeros(h.shape[:2]), h.new_zeros(h.shape[:2])
        parts = []
        for block, flows in enumerate(self.blocks):
            h = _squeeze(h)
            for flow in flows:
                h, step_log_det = flow.encode(h)
                log_det = log_det + step_log_det
            if str(block) in self.splits:
                h, leaving = h.chunk(2, dim=2)
                mean, log_sigma = self.splits[str(block)](h).chunk(2, dim=2)
                parts.append((leaving - mean) * torch.exp(-log_sigma))
                log_scale = log_scale + log_sigma.sum((2, 3))
        return [*parts, h], log_det, log_scale

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Windows to standard-normal latent codes.

        Args:
            x: ``(S, rows, n)``.

        Returns:
            z ``(S, rows, n)``, codes that leave first come first, and ``log|det dz/dx|``
            ``(S, rows)``, the scales of the split priors included.
        """
        parts, log_det, log_scale = self._encode(x)
        z = torch.cat([part.flatten(2) for part in parts], dim=-1)
        return z.transpose(0, 1), (log_det - log_scale).T

    def decode(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Latent codes to windows: the inverse of `encode`, with its own log-determinant."""
        n = self._rows(z).shape[-1]
        z = z.transpose(0, 1)
        log_det = z.new_zeros(z.shape[:2])
        sizes, left = [], n
        for _ in self.splits:
            left //= 2
            sizes.append(left)
        *leaving, h = z.split([*sizes, left], dim=-1)
        h = h.unflatten(-1, (-1, n >> len(self.blocks)))
        for block in range(len(self.blocks) - 1, -1, -1):
            if str(block) in self.splits:
                mean, log_sigma = self.splits[str(block)](h).chunk(2, dim=2)
                part = leaving.pop().view_as(mean) * torch.exp(log_sigma) + mean
                log_det = log_det + log_sigma.sum((2, 3))
                h = torch.cat([h, part], dim=2)
            for flow in reversed(self.blocks[block]):
                h, step_log_det = flow.decode(h)
                log_det = log_det + step_log_det
            h = _unsqueeze(h)
        return h[:, :, 0].transpose(0, 1), log_det.T

    def densities(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The two parts of ``log p(x)``, each ``(S, rows)`` nats.

        Returns:
            Log-density of the latent code, under the split priors too, and the log-determinant of
            the couplings.
        """
        parts, log_det, log_scale = self._encode(x)
        square = sum(part.square().sum((2, 3)) for part in parts)
        return (-0.5 * (square + x.shape[-1] * LOG_2_PI) - log_scale).T, log_det.T


def _squeeze(x: Tensor) -> Tensor:
    """``(R, S, C, L)`` to ``(R, S, 2 C, L / 2)``: neighbours in time become channels."""
    return x.unflatten(-1, (-1, 2)).movedim(-1, 3).flatten(2, 3)


def _unsqueeze(x: Tensor) -> Tensor:
    return x.unflatten(2, (-1, 2)).movedim(3, -1).flatten(-2)
