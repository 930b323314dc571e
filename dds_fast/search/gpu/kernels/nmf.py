"""What stands around the products of a multiplicative update; the products are left to a BLAS."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def program_values(n_values, BLOCK: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    return i, i < n_values


@triton.jit(do_not_specialize=["n_values"])
def ratio_kernel(values, numerator, denominator, out, epsilon, n_values, BLOCK: tl.constexpr):
    """``values * numerator / (denominator + epsilon)``."""
    i, inside = program_values(n_values, BLOCK)
    v = tl.load(values + i, mask=inside, other=0.0) * tl.load(numerator + i, mask=inside, other=0.0)
    d = tl.load(denominator + i, mask=inside, other=1.0) + epsilon
    tl.store(out + i, v / d, mask=inside)


@triton.jit(do_not_specialize=["n_values"])
def quotient_kernel(target, approximation, epsilon, n_values, BLOCK: tl.constexpr):
    """``approximation <- target / (approximation + epsilon)``."""
    i, inside = program_values(n_values, BLOCK)
    a = tl.load(approximation + i, mask=inside, other=1.0) + epsilon
    tl.store(approximation + i, tl.load(target + i, mask=inside, other=0.0) / a, mask=inside)
