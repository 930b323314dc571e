"""Multiplicative updates on a GPU: Triton passes between the products, which are cuBLAS's."""

from __future__ import annotations

import torch
from torch import Tensor

from dds_fast.nmf.multiplicative.products import LOSSES, ProductsUpdate
from dds_fast.nmf.multiplicative.reference import EPSILON
from dds_fast.search.dispatch import Request, accept
from dds_fast.search.gpu import weights as tiled

__all__ = ["LOSSES", "Update", "can_run"]

BLOCK = 1024


def can_run(request: Request, raise_error: bool = False) -> bool:
    """Where Triton runs, in float32."""
    if request.precision != "float32" and tiled.can_run(request):
        # cuBLAS makes the products.
        return accept(f"computes in float32, not {request.precision}", raise_error)
    return tiled.can_run(request, raise_error)


class Update(ProductsUpdate):
    """Like ``reference.Update``."""

    def ratio(self, H: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
        result = torch.empty_like(H)  # in the order of H
        n_values = H.numel()
        with tiled.on_device_of(H):
            tiled.kernels("nmf").ratio_kernel[(-(-n_values // BLOCK),)](
                H, numerator, denominator, result, EPSILON, n_values, BLOCK=BLOCK
            )
        return result

    def quotient(self, approximation: Tensor) -> Tensor:
        n_values = approximation.numel()
        with tiled.on_device_of(approximation):
            tiled.kernels("nmf").quotient_kernel[(-(-n_values // BLOCK),)](
                self.X, approximation, EPSILON, n_values, BLOCK=BLOCK
            )
        return approximation
