"""RProp on a whole input: the loop that training and inference share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from dds_fast.progress import bar

ETAS = (0.5, 1.2)
STEP_SIZES = (1e-6, 1.0)
FIRST_STEP = 1e-3
"""The steps fit weights of the order of one over their number; the usual 50 blows up."""

CHECK_EVERY = 20
"""The host looks at the costs every so many steps."""


@torch.enable_grad()
def minimise(
    parameters: Sequence[Tensor],
    evaluate: Callable[[], Tensor],
    *,
    n_steps: int,
    tolerance: float,
    progress: bool,
) -> tuple[np.ndarray, str]:
    """Change the parameters in place so that a cost falls, and leave them where it was least.

    Args:
        parameters: leaf tensors, without a graph before and after.
        evaluate: the cost at the parameters as they are.
        n_steps: most steps.
        tolerance: stop when twenty steps lower the least cost by less than this share of it.
        progress: show a progress bar on standard error.

    Returns:
        The costs, the initial one first; and "max_steps", "converged", "non-finite" or
        "interrupted" (Ctrl-C).

    Source: Riedmiller and Braun, A direct adaptive method for faster backpropagation learning,
    1993; as in `torch.optim.Rprop`.
    """
    for parameter in parameters:
        parameter.requires_grad_()
    optimizer = torch.optim.Rprop(parameters, lr=FIRST_STEP, etas=ETAS, step_sizes=STEP_SIZES)
    best = [parameter.detach().clone() for parameter in parameters]
    costs: list[Tensor] = []
    least = torch.full((), torch.inf, dtype=torch.float64, device=parameters[0].device)
    last_check, stop_reason = torch.inf, "max_steps"
    with bar(total=n_steps, shown=progress, unit="step") as shown:
        try:
            for step in range(n_steps + 1):
                cost = evaluate()
                costs.append(cost.detach().double())
                better = costs[-1] < least
                least = torch.where(better, costs[-1], least)
                for kept, parameter in zip(best, parameters, strict=True):
                    kept.copy_(torch.where(better, parameter.detach(), kept))
                if step == n_steps:
                    break
                if step % CHECK_EVERY == 0:
                    shown.set_postfix_str(f"cost {float(least):.4g}")
                    if not bool(torch.isfinite(costs[-1])):
                        stop_reason = "non-finite"
                        break
                    if last_check - float(least) <= tolerance * float(least):
                        stop_reason = "converged"
                        break
                    last_check = float(least)
                optimizer.zero_grad()
                cost.backward()
                optimizer.step()
                shown.update()
        except KeyboardInterrupt:
            stop_reason = "interrupted"
    for kept, parameter in zip(best, parameters, strict=True):
        parameter.requires_grad_(False).copy_(kept)
        parameter.grad = None
    return torch.stack(costs).cpu().numpy(), stop_reason
