"""The matrix products of a search: float32, and split into three bfloat16 products."""

from __future__ import annotations

import pytest
import torch
from tolerances import error_ratio
from torch import Tensor

from dds_fast import _native

SHAPES = [(1, 1, 1), (7, 33, 65), (130, 70, 200), (300, 123, 42), (5, 1200, 6), (64, 64, 64)]

# "split" keeps the promise of the precision "bf16x3"; measured up to 4.8e-6.
LARGEST_ERROR = {"float32": 1e-6, "split": 1e-5}


def product(format: str, a: Tensor, b: Tensor, subtrahend: Tensor | None = None) -> Tensor:
    """``a b - subtrahend``; a factor may be the transpose of a contiguous matrix, or a slice."""
    native, n_threads = _native.cpu(), torch.get_num_threads()
    (m, k), n = a.shape, b.shape[1]
    factors: list[int | bool] = []
    for factor in (a, b):
        transposed = factor.stride(1) != 1
        stride = factor.stride(1) if transposed else factor.stride(0)
        factors += [factor.data_ptr(), stride, transposed]
    c = torch.full((m, n), torch.nan)
    native.matrix_product(
        format,
        m,
        k,
        n,
        *factors,
        0 if subtrahend is None else subtrahend.data_ptr(),
        c.data_ptr(),
        n_threads,
    )
    return c


def make(shape: tuple[int, int, int], transposed: tuple[bool, bool]) -> list[Tensor]:
    m, k, n = shape
    generator = torch.Generator().manual_seed(0)
    factors = [
        torch.randn(*(reversed(size) if flip else size), generator=generator)
        for size, flip in zip(((m, k), (k, n)), transposed, strict=True)
    ]
    return [f.T if flip else f for f, flip in zip(factors, transposed, strict=True)]


@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True)], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("format", LARGEST_ERROR)
def test_error_against_float64(
    level: str, format: str, shape: tuple[int, int, int], transposed: tuple[bool, bool]
) -> None:
    a, b = make(shape, transposed)
    actual = product(format, a, b)
    assert error_ratio(actual, a.double() @ b.double()) < LARGEST_ERROR[format]
    subtrahend = torch.randn(shape[0], shape[2])
    assert torch.equal(product(format, a, b, subtrahend), actual - subtrahend)


@pytest.mark.parametrize("format", LARGEST_ERROR)
def test_rows_apart(level: str, format: str) -> None:
    a, b = torch.randn(20, 50)[:, 3:36], torch.randn(66, 80)[:33, :70]
    assert error_ratio(product(format, a, b), a.double() @ b.double()) < LARGEST_ERROR[format]


@pytest.mark.parametrize("format", LARGEST_ERROR)
def test_same_bits_for_any_thread_count(level: str, format: str) -> None:
    a, b = make((130, 70, 200), (True, False))
    expected = product(format, a, b)
    before = torch.get_num_threads()
    try:
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            assert torch.equal(product(format, a, b), expected)
    finally:
        torch.set_num_threads(before)
