"""Multiplicative updates on the CPU: compiled passes between the products."""

from __future__ import annotations

import torch
from torch import Tensor

from dds_fast import _native
from dds_fast.nmf.least_squares.cpu import can_run
from dds_fast.nmf.multiplicative.products import LOSSES, ProductsUpdate
from dds_fast.nmf.multiplicative.reference import EPSILON

__all__ = ["LOSSES", "Update", "can_run"]


class Update(ProductsUpdate):
    """Like ``reference.Update``."""

    def ratio(self, H: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
        result = H.clone()
        _native.cpu().nmf_ratio(
            numerator.data_ptr(),
            denominator.data_ptr(),
            EPSILON,
            result.data_ptr(),
            result.numel(),
            torch.get_num_threads(),
        )
        return result

    def quotient(self, approximation: Tensor) -> Tensor:
        _native.cpu().nmf_quotient(
            self.X.data_ptr(),
            EPSILON,
            approximation.data_ptr(),
            approximation.numel(),
            torch.get_num_threads(),
        )
        return approximation
