"""The activations of given decoders that explain a spectrogram together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dds_fast import arrays, scalars
from dds_fast.arrays import Kind
from dds_fast.methods.nae.layers import divergence, through
from dds_fast.methods.nae.model import NAE
from dds_fast.methods.nae.rprop import minimise
from dds_fast.nmf import nonnegative

PENALTIES = ("l1", "cross")


@arrays.isolated()
def activations(
    X: Any,
    models: NAE | Sequence[NAE],
    *,
    penalty: float = 0.0,
    penalty_kind: str = "l1",
    n_steps: int = 300,
    tolerance: float = 1e-4,
    progress: bool = False,
) -> tuple[Any, np.ndarray]:
    """The activations with which frozen decoders explain a spectrogram best.

    ``X_hat = sum_i decode_i(H_i)`` under the generalised Kullback-Leibler divergence, by RProp on
    A in ``H = softplus(A)``. H starts as what each encoder makes of its share of X.

    Args:
        X: ``(F, T)`` spectrogram, non-negative; NumPy array or tensor.
        models: one `NAE`, or several whose models add up.
        penalty: lambda, the weight of the regulariser.
        penalty_kind: "l1" for ``sum_i ||H_i||_1``, or "cross" for the products of the L1 norms of
            two models' activations in a frame, summed over pairs and frames: what discourages
            models that are active at the same time.
        n_steps: most steps.
        tolerance: stop when twenty steps lower the cost by less than this share of it.
        progress: show a progress bar.

    Returns:
        H ``(K, T)``, or a list of these if a sequence of models came in, like X (NumPy or
        torch); and the costs, the initial one first, for ``X / scale`` with the mean of the
        models' scales.

    Raises:
        ValueError: bad X, no models or models of other sizes, a number out of range.

    Source: Smaragdis and Venkataramani (arXiv 1609.03296), Eqs. 6, 8 and 9. The printed Eq. 9 was
    not seen; both `penalty_kind` are readings of its text.

    Example:
        >>> import torch
        >>> from dds_fast.methods import nae
        >>> X = torch.rand(20, 3) @ torch.rand(3, 50)
        >>> model = nae.fit(X, n_components=3, n_steps=100)
        >>> H, costs = nae.activations(X, model, n_steps=100)
        >>> H.shape, model.divergence(X, H) <= model.divergence(X)
        (torch.Size([3, 50]), True)
    """
    joint = [models] if isinstance(models, NAE) else list(models)
    if not joint:
        raise ValueError("nae.activations: no models")
    weight, kind = joint[0].weights[0], Kind.of(X)
    X = arrays.as_tensor("nae.activations: X", X, weight.dtype, weight.device)
    nonnegative.check_matrix("nae.activations", "X", X)
    if {model.n_features for model in joint} != {X.shape[0]}:
        raise ValueError(
            f"nae.activations: X is {tuple(X.shape)}, but the models are "
            + ", ".join(map(repr, joint))
        )
    if penalty_kind not in PENALTIES:
        raise ValueError(
            f"nae.activations: penalty_kind must be one of {PENALTIES}, not {penalty_kind!r}"
        )
    penalty = scalars.real("nae.activations: penalty", penalty, least=0)
    n_steps = scalars.integer("nae.activations: n_steps", n_steps, least=0)
    tolerance = scalars.real("nae.activations: tolerance", tolerance, least=0)
    scale = sum(model.scale for model in joint) / len(joint)
    free = [_before_softplus(model.encode(X / len(joint))) for model in joint]
    costs, _ = minimise(
        free,
        lambda: cost(X / scale, joint, free, scale, penalty, penalty_kind),
        n_steps=n_steps,
        tolerance=tolerance,
        progress=progress,
    )
    H = [kind.give_back(functional.softplus(A)) for A in free]
    return (H[0] if isinstance(models, NAE) else H), costs


def cost(
    X: Tensor,
    models: Sequence[NAE],
    free: Sequence[Tensor],
    scale: float,
    penalty: float,
    penalty_kind: str,
) -> Tensor:
    """The cost of Eqs. 8 and 9 for ``H_i = softplus(A_i)``.

    Args:
        X: ``(F, T)``, divided by `scale`.
        models: their decoders are used.
        free: A_i, ``(K_i, T)``.
        scale: what X was divided by.
        penalty, penalty_kind: as for `activations`.
    """
    H = [functional.softplus(A) for A in free]
    parts = (
        model.scale / scale * through(model.decoder, h, model.activation)
        for model, h in zip(models, H, strict=True)
    )
    norms = torch.stack([h.sum(0) for h in H])
    if penalty_kind == "cross":
        norms = norms * (norms.sum(0) - norms) / 2
    return divergence(X, sum(parts, X.new_zeros(()))) + penalty * norms.sum()


def _before_softplus(H: Tensor) -> Tensor:
    """A with ``softplus(A) = H``, for H that is positive or nearly so."""
    H = H.clamp_min(torch.finfo(torch.float32).eps)
    return H + torch.log(-torch.expm1(-H))
