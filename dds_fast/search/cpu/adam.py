"""Adam's bias corrections, for the kernels that hold its moments (Kingma and Ba, 2015)."""

from __future__ import annotations

import math

BETA_1, BETA_2 = 0.9, 0.999


def corrections(step_size: float, step: int) -> tuple[float, float]:
    """The step size and the factor of the root of the second moment, at the `step`-th step."""
    return step_size / (1 - BETA_1**step), 1 / math.sqrt(1 - BETA_2**step)
