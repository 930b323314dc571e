"""Tolerances of the tests: root-mean-square error over root-mean-square of the reference."""

from __future__ import annotations

import torch
from torch import Tensor

# Measured against float64 on well-conditioned random flows; each bound leaves a factor of about 5.
RATIO: dict[torch.dtype, dict[str, float]] = {
    torch.float64: {"output": 1e-12, "log_det": 1e-12, "gradient": 1e-12},
    torch.float32: {"output": 2e-6, "log_det": 5e-6, "gradient": 3e-6},
}

# Measured up to 2.1e-5 and 1.1e-2. Where an activation's slope jumps, an input that rounds to the
# other side throws a gradient off: up to 6.5e-4 and 1.9e-2 were seen.
PRECISION: dict[str, dict[str, float]] = {
    "float32": RATIO[torch.float32],
    "bf16x3": {"output": 3e-5, "log_det": 6e-5, "gradient": 3e-3},
    "bfloat16": {"output": 1e-2, "log_det": 3e-2, "gradient": 6e-2},
}


def error_ratio(actual: Tensor, expected: Tensor) -> float:
    """RMS of the error over RMS of `expected`, in float64."""
    if expected.numel() == 0:
        return 0.0
    expected = expected.double()
    error = (actual.double() - expected).square().mean().sqrt()
    return (error / expected.square().mean().sqrt().clamp_min(1e-300)).item()


def assert_close(name: str, actual: Tensor, expected: Tensor, ratio: float) -> None:
    """`actual` agrees with `expected` up to an RMS error of `ratio`; NaN and Inf never agree."""
    assert actual.shape == expected.shape, f"{name}: {actual.shape} is not {expected.shape}"
    assert torch.isfinite(actual).all(), f"{name}: not finite"
    measured = error_ratio(actual, expected)
    assert measured <= ratio, f"{name}: RMS error ratio {measured:.2e} exceeds {ratio:.0e}"
