"""The split matrix product of the objective: three bfloat16 products, summed in float32."""

from __future__ import annotations

import pytest
import torch
from tolerances import error_ratio

from dds_fast.ops.update_step.products import split_product

SHAPES = [(1, 1, 1), (7, 33, 65), (130, 70, 200), (300, 123, 42), (5, 1200, 6), (64, 64, 64)]

# The promise of the precision "bf16x3"; measured up to 4.8e-6.
LARGEST_ERROR = 1e-5


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_error_against_float64(level: str, shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(m, k, generator=generator), torch.randn(k, n, generator=generator)
    c = split_product(a, b)
    assert c.shape == (m, n)
    assert error_ratio(c, a.double() @ b.double()) < LARGEST_ERROR


def test_strided_factors(level: str) -> None:
    a, b = torch.randn(33, 20).T, torch.randn(70, 66)[::2, ::3][:33]
    assert error_ratio(split_product(a, b), a.double() @ b.double()) < LARGEST_ERROR


def test_same_bits_for_any_thread_count(level: str) -> None:
    a, b = torch.randn(130, 70), torch.randn(70, 200)
    expected = split_product(a, b)
    before = torch.get_num_threads()
    try:
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            assert torch.equal(split_product(a, b), expected)
    finally:
        torch.set_num_threads(before)
