"""Adam on latent codes, and their log-likelihood, in one launch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dds_fast.search.gpu.weights import kernels

ROW_BLOCK = 1024


def move(
    Z: Tensor,
    moments: Sequence[Tensor],
    gradients: tuple[Tensor, Tensor] | None,
    numbers: Tensor,
    counters: Tensor,
    n_fixed: int,
) -> Tensor:
    """Move ``(G, R, F)`` codes in place; returns the ``(G, R)`` log-likelihoods, per dimension.

    Args:
        Z: the codes, of which the leading `n_fixed` dims are held.
        moments: Adam's, as wide as Z, in place.
        gradients: to Z, and to the log-likelihoods (whose own part is added here); None moves
            nothing.
        numbers: step size and correction, at the places that kernels/search.py names.
        counters: tell whether the search has stopped, likewise.
    """
    log_likelihoods = Z.new_empty(Z.shape[:2])
    of_codes, of_likelihoods = (Z, Z) if gradients is None else gradients
    kernels("search").latents_kernel[(log_likelihoods.numel(),)](
        Z, *moments, of_codes, of_likelihoods, log_likelihoods, numbers, counters,
        N_FEATURES=Z.shape[-1], N_FIXED=n_fixed, BLOCK=ROW_BLOCK, MOVE=gradients is not None,
    )  # fmt: skip
    return log_likelihoods
