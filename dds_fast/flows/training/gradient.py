"""A batch's losses and clipped gradient, by one CUDA graph where there is a GPU."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dds_fast.flows.cuda_graph import Graphed
from dds_fast.flows.training import ranks


class ClippedGradient:
    """Puts a batch's gradient, summed over the ranks and clipped, into the parameters' ``.grad``.

    On a GPU all of it is replayed from a CUDA graph, for batches of the first one's shape; what
    several ranks exchange is not captured, so they go without. The optimizer's few launches stay
    outside: its step size changes with every step, and Adam's moment decay too under OneCycleLR.

    Args:
        flow: whose parameters.
        gradient: fills their ``.grad`` from a batch and gives the ``(groups,)`` losses; it must
            not wait for the device.
        n_groups: flows of a bank (leading dim of the parameters), or 1.
        max_norm: of each group's gradient.
        device: where the flow is.
    """

    def __init__(
        self,
        flow: nn.Module,
        gradient: Callable[..., Tensor],
        n_groups: int,
        max_norm: float,
        device: torch.device,
    ) -> None:
        self.flow, self.gradient = flow, gradient
        self.n_groups, self.max_norm = n_groups, max_norm
        self.run = self._run if ranks.n_ranks() > 1 else Graphed(self._run, device)

    def __call__(self, *batch: Tensor) -> tuple[Tensor, Tensor]:
        """The ``(groups,)`` losses of a batch, and the mean norm before clipping."""
        losses, norm, gradients = self.run(*batch)
        # A batch of another shape, run as it is, has left tensors of its own in their place.
        for parameter, gradient in zip(self.flow.parameters(), gradients, strict=True):
            parameter.grad = gradient
        return losses.clone(), norm.clone()

    def _run(self, *batch: Tensor) -> tuple[Tensor, Tensor, list[Tensor | None]]:
        losses = self.gradient(*batch)
        gradients = [parameter.grad for parameter in self.flow.parameters()]
        ranks.add_up([losses, *(g for g in gradients if g is not None)])
        return losses, clip_gradients(self.flow, self.n_groups, self.max_norm), gradients


@torch.no_grad()
def clip_gradients(flow: nn.Module, n_groups: int, max_norm: float) -> Tensor:
    """Scale the gradients of each group (leading dim of parameters) to `max_norm` at most.

    Returns:
        The mean norm before.
    """
    gradients = [p.grad for p in flow.parameters() if p.grad is not None]
    if n_groups == 1:
        return nn.utils.clip_grad_norm_(flow.parameters(), max_norm)
    norms = torch.stack([g.flatten(1).norm(dim=1) if g.ndim > 1 else g.abs() for g in gradients])
    norms = norms.norm(dim=0)
    scale = (max_norm / norms.clamp_min(1e-12)).clamp_max(1.0)
    for gradient in gradients:
        gradient.mul_(scale.view(-1, *[1] * (gradient.ndim - 1)))
    return norms.mean()
