"""The objective's products with the dictionary and the activations, on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from dds_fast import _native


def split_product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` in three bfloat16 products."""
    a, b = a.contiguous(), b.contiguous()
    native, n_threads = _native.cpu(), torch.get_num_threads()
    (m, k), n = a.shape, b.shape[1]
    c = a.new_empty(m, n)
    scratch = torch.empty(native.matrix_product_bytes(m, k, n, n_threads), dtype=torch.uint8)
    native.matrix_product(
        m, k, n, a.data_ptr(), b.data_ptr(), c.data_ptr(), scratch.data_ptr(), n_threads
    )
    return c


class SharedProducts:
    """The objective's products with entries ``(J, F)`` that all frames share."""

    def __init__(self, Xt: Tensor, precision: str) -> None:
        self.Xt = Xt
        # Where bfloat16 is asked for and fast, float32 products would take longer than they need.
        fast = precision != "float32" and _native.cpu().level() == "amx"
        self.multiply = split_product if fast else torch.mm

    def residual(self, D: Tensor, H: Tensor) -> Tensor:
        return self.multiply(H.T, D).sub_(self.Xt)

    def correlation(self, D: Tensor, residual: Tensor) -> Tensor:
        # MKL multiplies with a transposed second factor at half the speed.
        return self.multiply(D, residual.T.contiguous())

    def gradient(self, H: Tensor, residual: Tensor) -> tuple[Tensor, Tensor | None]:
        """The un-normalised gradient to the entries, and the weights of its rows."""
        return self.multiply(H, residual), None


class FrameProducts:
    """The objective's products with entries ``(S, T, F)``, one per source and frame (DDS-1)."""

    def __init__(self, Xt: Tensor) -> None:
        self.Xt = Xt

    def residual(self, D: Tensor, H: Tensor) -> Tensor:
        residual = torch.empty_like(self.Xt)
        _native.cpu().frame_residual(
            D.data_ptr(),
            H.data_ptr(),
            self.Xt.data_ptr(),
            *D.shape,
            residual.data_ptr(),
            torch.get_num_threads(),
        )
        return residual

    def correlation(self, D: Tensor, residual: Tensor) -> Tensor:
        correlation = D.new_empty(D.shape[:2])
        _native.cpu().frame_correlation(
            D.data_ptr(),
            residual.data_ptr(),
            *D.shape,
            correlation.data_ptr(),
            torch.get_num_threads(),
        )
        return correlation

    def gradient(self, H: Tensor, residual: Tensor) -> tuple[Tensor, Tensor | None]:
        return residual, H
