"""Activations of a fixed dictionary with the least squared error."""

from __future__ import annotations

from types import ModuleType

from torch import Tensor

from dds_fast import arrays, memory, scalars
from dds_fast.nmf import nonnegative
from dds_fast.nmf.least_squares import cpu, reference
from dds_fast.search import dispatch

BACKENDS: dict[str, ModuleType] = {"cpu": cpu, "reference": reference}


@arrays.isolated()
def least_squares(
    X: Tensor,
    W: Tensor,
    *,
    max_passes: int = 100,
    tolerance: float = 1e-4,
    backend: str = "auto",
) -> tuple[Tensor, list[float]]:
    r"""Minimise ``||X - W H||_F`` over ``H >= 0``, each frame over few candidates of its own.

    A pass costs one product of the dictionary with the residual. It adds to each frame the entries
    that correlate most with its residual, and moves the activations of the frame's candidates by
    coordinate descent. The cost never increases, up to rounding.

    Args:
        X: ``(F, T)``, non-negative.
        W: ``(F, J)``, non-negative; over-complete or not.
        max_passes: most passes over all frames.
        tolerance: stop when a pass lowers the cost by less than this share of it.
        backend: "auto", or the name of one of ``BACKENDS``.

    Returns:
        The ``(J, T)`` activations, and the costs, that of H = 0 included.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together; negative, NaN or infinite
            entries; unknown `backend`.
        RuntimeError: the backend cannot run on `X`, with its reason.
        MemoryError: the activations do not fit, with their size; before any work where they could
            not fit this machine.

    Source: active sets for non-negative least squares go back to Lawson and Hanson, Solving Least
    Squares Problems (1974), chapter 23; coordinate descent for them to Franc, Hlavac and Navara,
    Sequential coordinate-wise algorithm (2005).

    Example:
        >>> import torch
        >>> W = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
        >>> H, costs = least_squares(torch.tensor([[3.0], [1.0]]), W, tolerance=0.0)
        >>> H.min() >= 0, costs[-1] < 1e-5
        (tensor(True), True)
    """
    max_passes = scalars.integer("max_passes", max_passes, least=0)
    tolerance = scalars.not_negative("tolerance", tolerance)
    X, W = nonnegative.check("least_squares", X, W)
    module = dispatch.select("least_squares", BACKENDS, dispatch.Request.of(X), backend)
    (F, T), J = X.shape, W.shape[1]
    size = (J * T + F * T + J * F) * X.itemsize
    with memory.explained(size, "least_squares", "fewer frames or entries", X.device.type):
        search = module.Search(X, W)
        costs = [search.cost]
        for _ in range(max_passes):
            search.advance()
            costs.append(search.cost)
            if costs[-2] - costs[-1] <= tolerance * costs[-2]:
                break
        return search.activations(), costs
