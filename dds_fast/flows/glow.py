"""A class-conditional Glow for all sources (DDS-3)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from dds_fast.flows.coupling import CouplingStep, sizes
from dds_fast.flows.frozen import FrozenFlow, FrozenStep

logger = logging.getLogger("dds_fast")

CONDITION_WARNING = 1e6


class ActNorm(nn.Module):
    """``y = (x + b) exp(l)`` per feature, initialised from data (Kingma and Dhariwal, 2018)."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(n_features))
        self.log_scale = nn.Parameter(torch.zeros(n_features))

    @torch.no_grad()
    def initialize(self, x: Tensor, floor: float) -> None:
        """Zero mean and unit variance on ``(R, F)`` rows; deviations below `floor` are raised.

        The floor keeps bins that hardly vary in the data from being blown up.
        """
        self.bias.copy_(-x.mean(0))
        self.log_scale.copy_(-torch.log(x.std(0).clamp_min(floor)))

    def encode(self, x: Tensor) -> Tensor:
        return (x + self.bias) * torch.exp(self.log_scale)


class LUMixing(nn.Module):
    """``y = A x`` with ``A = P (I + L) (U + diag(s))``, P fixed; starts as a random rotation.

    L, s and U are the strictly lower part, the diagonal and the strictly upper part of `factors`.
    """

    order: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        if torch.get_default_device().type == "meta":  # a stored state follows
            factors = torch.empty(n_features, n_features)
            order = torch.empty(n_features, dtype=torch.int64)
        else:
            rotation = torch.linalg.qr(torch.randn(n_features, n_features, dtype=torch.float64))[0]
            permutation, lower, upper = torch.linalg.lu(rotation)
            factors, order = (lower.tril(-1) + upper).float(), permutation.argmax(dim=1)
        self.factors = nn.Parameter(factors)
        # A x = P (L U x): row i of the product is row order[i] of L U x.
        self.register_buffer("order", order)

    def matrix(self) -> Tensor:
        """``(F, F)`` A."""
        identity = torch.eye(len(self.order), dtype=self.factors.dtype, device=self.factors.device)
        return ((self.factors.tril(-1) + identity) @ self.factors.triu())[self.order]

    def log_det(self) -> Tensor:
        """``log|det A|``, in the dtype of the parameters."""
        return self.factors.diagonal().abs().log().sum()


class GlowStep(nn.Module):
    """ActNorm, LU mixing, coupling."""

    def __init__(self, n_features: int, width: int, depth: int) -> None:
        super().__init__()
        self.actnorm = ActNorm(n_features)
        self.mixing = LUMixing(n_features)
        self.coupling = CouplingStep(1, n_features, width, depth, "leaky_relu")

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(x.device.type, enabled=False):  # it would round x in every step
            mixed = self.actnorm.encode(x) @ self.mixing.matrix().T
        y, log_det = self.coupling.encode(mixed[None])
        return y[0], log_det[0] + self.actnorm.log_scale.sum() + self.mixing.log_det()

    def decode(self, y: Tensor) -> tuple[Tensor, Tensor]:
        u, log_det = self.coupling.decode(y[None])
        x = torch.linalg.solve(self.mixing.matrix(), u[0].T).T
        x = x * torch.exp(-self.actnorm.log_scale) - self.actnorm.bias
        return x, log_det[0] - self.actnorm.log_scale.sum() - self.mixing.log_det()

    def freeze(self) -> tuple[FrozenStep, Tensor, float]:
        """The folded step, its constant decode log-det (float64), and cond_1 of its mixing."""
        matrix, log_scale = self.mixing.matrix().double(), self.actnorm.log_scale.double()
        unmixing = torch.linalg.inv(matrix)
        condition = torch.linalg.matrix_norm(matrix, 1) * torch.linalg.matrix_norm(unmixing, 1)
        mixing = (torch.exp(-log_scale)[:, None] * unmixing).to(self.actnorm.bias.dtype)
        if not bool(torch.isfinite(mixing).all()):
            raise ValueError(f"a Glow's step cannot be inverted in {mixing.dtype}: it overflows")
        step = FrozenStep(
            self.coupling.freeze(),
            mixing=mixing[None],
            shift=self.actnorm.bias.clone()[None],
        )
        log_det = -log_scale.sum() - self.mixing.factors.diagonal().double().abs().log().sum()
        return step, log_det, float(condition)


class ConditionalGlow(nn.Module):
    """A single-scale Glow whose latent code splits into class and nuisance dims.

    ``z = [z_s | z_n]``: the first `n_sources` dims are a one-hot code of the source, the other
    ``F - n_sources`` are standard normal. The class enters only there, not in the couplings.

    Args:
        n_sources: S, the length of z_s.
        n_features: F, more than S.
        n_steps: steps of ActNorm, LU mixing and coupling.
        width: units of each hidden layer; the papers' rule is 2 F.
        depth: hidden layers (LeakyReLU) of each coupling's network.
        random_state: seed of the rotations and the initial weights.

    Raises:
        ValueError: F is not larger than S.

    Source: DDS paper (arXiv 2211.15524), section III-D, after Kingma and Dhariwal (2018) and
    Jacobsen et al. (2018).

    Example:
        >>> glow = ConditionalGlow(2, 8, n_steps=2, width=4, depth=1)
        >>> z = torch.cat([torch.eye(2), torch.zeros(2, 6)], dim=1)  # each class at its likeliest
        >>> x, log_det = glow.decode(z)
        >>> x.shape, log_det.shape, torch.allclose(glow.encode(x)[0], z, atol=1e-5)
        (torch.Size([2, 8]), torch.Size([2]), True)
    """

    def __init__(
        self,
        n_sources: int,
        n_features: int,
        n_steps: int = 32,
        width: int = 1024,
        depth: int = 3,
        random_state: int = 0,
    ) -> None:
        super().__init__()
        self.hyperparameters = sizes(n_sources, n_features, n_steps, width, depth)
        n_sources, n_features, n_steps, width, depth = self.hyperparameters.values()
        if n_features <= n_sources:
            raise ValueError(
                f"a ConditionalGlow needs more features than sources, not F={n_features} and "
                f"S={n_sources}"
            )
        self.n_sources, self.n_features = n_sources, n_features
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_state)
            steps = nn.ModuleList(GlowStep(n_features, width, depth) for _ in range(n_steps))
            self.steps = cast("Sequence[GlowStep]", steps)

    @torch.no_grad()
    def initialize(self, x: Tensor, floor: float = 0.01) -> None:
        """Set every ActNorm from ``(R, F)`` data, step by step."""
        for step in self.steps:
            step.actnorm.initialize(x, floor)
            x, _ = step.encode(x)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Spectra to latent codes.

        Args:
            x: ``(rows, F)``.

        Returns:
            z ``(rows, F)`` with z_s first, and ``log|det dz/dx|`` ``(rows,)``.
        """
        log_det = x.new_zeros(x.shape[:1])
        for step in self.steps:
            x, step_log_det = step.encode(x)
            log_det = log_det + step_log_det
        return x, log_det

    def decode(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Latent codes to spectra: the inverse of `encode`, with its own log-determinant."""
        log_det = z.new_zeros(z.shape[:1])
        for step in reversed(self.steps):
            z, step_log_det = step.decode(z)
            log_det = log_det + step_log_det
        return z, log_det

    @torch.no_grad()
    def freeze(self) -> FrozenFlow:
        """The flow as the flow ops take it: ActNorm and inverse mixing folded in float64."""
        steps, log_dets, conditions = zip(*(step.freeze() for step in self.steps), strict=True)
        condition = max(conditions)
        log = logger.warning if condition > CONDITION_WARNING else logger.debug
        log("mixing matrices have condition numbers up to %.3g", condition)
        return FrozenFlow(steps, torch.stack(log_dets).sum(0, keepdim=True), condition)
