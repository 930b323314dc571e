"""Agreement with float64, which comes before every time."""

from __future__ import annotations

from functools import lru_cache, partial

import torch
from torch import Tensor

from cases import Workload
from contenders import Contender
from dds_fast.ops import Schedule, flow_decode, update_step

CHECKED_STEPS = 3
SCHEDULE = Schedule(step_size=1e-3, max_steps=1000)
"""The paper's."""

TOLERANCES = {
    "float32": {
        **{"x": 1e-5, "log_det": 1e-5, "gradient": 1e-5},
        **{"history": 1e-5, "W": 1e-4, "H": 1e-3},
    },
    "bf16x3": {
        **{"x": 1e-4, "log_det": 1e-4, "gradient": 1e-4},
        **{"history": 1e-4, "W": 1e-3, "H": 1e-2},
    },
    "bfloat16": {
        **{"x": 2e-2, "log_det": 2e-2, "gradient": 2e-2},
        **{"history": 5e-3, "W": 2e-2, "H": 5e-2},
    },
}
"""Largest RMS error over RMS of the float64 values, by precision.

Adam's first steps are the signs of the gradients, so an entry whose gradient is all but zero may
move the other way: H, which starts small, shows it most."""


class Disagreement(Exception):
    """A contender's values are not those of float64."""


def error_ratio(actual: Tensor, expected: Tensor) -> float:
    """RMS of the error over RMS of `expected`."""
    return float((actual.double() - expected).norm() / expected.norm())


def _values(workload: Workload, quantity: str, contender: Contender) -> dict[str, Tensor]:
    """What the contender computes for a quantity."""
    if quantity == "step":
        search = contender.start(contender.problem, SCHEDULE)
        search.advance(CHECKED_STEPS)
        state = search.state()
        history = torch.tensor(search.controller.history, dtype=torch.float64)
        # PyTorch's loop knows the last cost only when it goes on.
        return {"history": history[:CHECKED_STEPS], "W": state.W, "H": state.H}
    dtype = contender.problem.X.dtype
    z = workload.z.to(dtype).requires_grad_()
    x, log_det = contender.decode(z)
    if quantity == "forward":
        return {"x": x.detach(), "log_det": log_det.detach()}
    cotangents = [c.to(dtype) for c in workload.cotangents]
    return {"gradient": torch.autograd.grad((x, log_det), z, cotangents)[0]}


@lru_cache(maxsize=1)
def _exact(workload: Workload, quantity: str) -> dict[str, Tensor]:
    flow = workload.flow.freeze().to(torch.float64)
    contender = Contender(
        partial(flow_decode, flow, backend="reference"),
        partial(update_step, backend="reference"),
        workload.problem(flow),
    )
    return _values(workload, quantity, contender)


def check(workload: Workload, quantity: str, contender: Contender) -> dict[str, float]:
    """The contender's errors.

    Raises:
        Disagreement: an error exceeds its tolerance, or is not a number.
    """
    with contender.during():
        actual = _values(workload, quantity, contender)
    exact = _exact(workload, quantity)
    errors = {name: error_ratio(actual[name], exact[name]) for name in exact}
    for name, error in errors.items():
        tolerance = TOLERANCES[contender.precision][name]
        if not error <= tolerance:
            raise Disagreement(f"{name} is off by {error:.1e}, allowed are {tolerance:.0e}")
    return errors
