"""A bank of RealNVP flows, one per source (DDS-1 and DDS-2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from dds_fast.flows.coupling import CouplingStep, sizes
from dds_fast.flows.frozen import FrozenFlow, FrozenStep


class RealNVPBank(nn.Module):
    """S independent single-scale RealNVP flows with stacked weights, trained and run together.

    Each step permutes the features (a fixed random permutation per flow and step) and applies an
    affine coupling whose log-scale is bounded by a tanh.

    Args:
        n_sources: S.
        n_features: F.
        n_steps: coupling steps per flow.
        width: units of each hidden layer; the papers' rule is F / 4.
        depth: hidden layers (SELU) of each coupling's network.
        random_state: seed of the permutations and the initial weights.

    Source: DDS paper (arXiv 2211.15524), section IV-B.

    Example:
        >>> bank = RealNVPBank(2, 8, n_steps=2, width=4, depth=1)
        >>> z, log_det = bank.encode(torch.rand(2, 5, 8))
        >>> torch.allclose(bank.decode(z)[0], bank.decode(z)[0])
        True
    """

    orders: Tensor

    def __init__(
        self,
        n_sources: int,
        n_features: int,
        n_steps: int = 16,
        width: int = 128,
        depth: int = 4,
        random_state: int = 0,
    ) -> None:
        super().__init__()
        self.hyperparameters = sizes(n_sources, n_features, n_steps, width, depth)
        n_sources, n_features, n_steps, width, depth = self.hyperparameters.values()
        self.n_sources, self.n_features = n_sources, n_features
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_state)
            couplings = nn.ModuleList(
                CouplingStep(n_sources, n_features, width, depth, "selu") for _ in range(n_steps)
            )
            self.couplings = cast("Sequence[CouplingStep]", couplings)
            orders = torch.rand(n_steps, n_sources, n_features).argsort(-1)
        self.register_buffer("orders", orders)

    @torch.no_grad()
    def select(self, sources: Sequence[int]) -> RealNVPBank:
        """A bank of some of the flows, by index, with copies of their parameters."""
        chosen = torch.as_tensor(sources, device=self.orders.device)
        bank = RealNVPBank(**{**self.hyperparameters, "n_sources": len(sources)})
        state = {
            name: value[:, chosen] if name == "orders" else value[chosen]
            for name, value in self.state_dict().items()
        }
        bank.load_state_dict(state)
        return bank.to(self.orders.device, self.couplings[0].alpha.dtype)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Spectra to latent codes.

        Args:
            x: ``(S, rows, F)``.

        Returns:
            z ``(S, rows, F)`` and ``log|det dz/dx|`` ``(S, rows)``.
        """
        log_det = x.new_zeros(x.shape[:2])
        for coupling, order in zip(self.couplings, self.orders, strict=True):
            x, step_log_det = coupling.encode(x.gather(-1, order[:, None].expand_as(x)))
            log_det = log_det + step_log_det
        return x, log_det

    def decode(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Latent codes to spectra: the inverse of `encode`, with its own log-determinant."""
        log_det = z.new_zeros(z.shape[:2])
        for coupling, order in zip(self.couplings[::-1], self.orders.flip(0), strict=True):
            u, step_log_det = coupling.decode(z)
            z = u.gather(-1, order.argsort(-1)[:, None].expand_as(u))
            log_det = log_det + step_log_det
        return z, log_det

    @torch.no_grad()
    def freeze(self) -> FrozenFlow:
        """The bank as the flow ops take it: detached, of the module's dtype and device."""
        steps = tuple(
            FrozenStep(coupling.freeze(), order=order)
            for coupling, order in zip(self.couplings, self.orders, strict=True)
        )
        log_det = torch.zeros(self.n_sources, dtype=torch.float64, device=self.orders.device)
        return FrozenFlow(steps, log_det)
