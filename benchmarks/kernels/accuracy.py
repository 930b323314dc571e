"""Agreement with float64, which comes before every time."""

from __future__ import annotations

from functools import lru_cache, partial

import torch
from kernels.cases import Workload, start
from kernels.contenders import Contender
from torch import Tensor

from dds_fast.flows.cuda_graph import WARM_UP
from dds_fast.ops import flow_decode
from dds_fast.search import Schedule

CHECKED_STEPS = {"cpu": 3, "cuda": WARM_UP + 3}
"""By type of device: on a GPU so many that a replayed step is among them."""

SCHEDULE = Schedule(step_size=1e-3, max_steps=1000)
"""The paper's."""


def _tolerances(*values: float) -> dict[str, float]:
    names = ("x", "log_det", "gradient", "history", "W", "H")
    return dict(zip(names, values, strict=True))


BANK_TOLERANCES = {
    "float32": _tolerances(5e-6, 5e-6, 2e-3, 5e-6, 1e-4, 1e-4),
    "tf32": _tolerances(2e-3, 4e-3, 2e-2, 2e-4, 5e-3, 3e-3),
    "bf16x3": _tolerances(5e-5, 5e-5, 5e-3, 5e-5, 5e-4, 5e-4),
    "bfloat16": _tolerances(1e-2, 2e-2, 6e-2, 1e-3, 2e-2, 6e-3),
}
"""Largest RMS error over RMS of the float64 values, by precision.

Adam's first steps have about the same length whatever the gradient, so that small gradients of
either sign move as far: bfloat16 was seen to be off by 1.9e-3 in H after three steps. Three more
double the error at most. tf32 rounds to three bits more than bfloat16.

SELU's slope jumps at zero. Among millions of units some have an input that rounds to the other
side, whoever computes; hence the room in the gradient, and in W and H, which follow it."""

GLOW_TOLERANCES = {
    "float32": _tolerances(1e-4, 1e-4, 1e-2, 2e-5, 2e-3, 2e-3),
    "tf32": _tolerances(6e-3, 6e-3, 5e-2, 3e-4, 1e-2, 5e-3),
    "bf16x3": _tolerances(5e-4, 5e-4, 2e-2, 1e-4, 5e-3, 5e-3),
    "bfloat16": _tolerances(3e-2, 3e-2, 1e-1, 1e-3, 3e-2, 1e-2),
}
"""LeakyReLU's slope jumps a hundredfold; the loop's float32 triangular solves add to x's error."""


class Disagreement(Exception):
    """A contender's values are not those of float64."""


def error_ratio(actual: Tensor, expected: Tensor) -> float:
    """RMS of the error over RMS of `expected`."""
    return float((actual.double() - expected).norm() / expected.norm())


def _values(workload: Workload, quantity: str, contender: Contender) -> dict[str, Tensor]:
    """What the contender computes for a quantity."""
    if quantity == "step":
        search = contender.start(contender.problem, SCHEDULE)
        n_steps = CHECKED_STEPS[workload.device.type]
        search.advance(n_steps)
        state = search.state()
        history = torch.tensor(search.controller.history, dtype=torch.float64)
        # PyTorch's loop knows the last cost only when it goes on.
        return {"history": history[:n_steps], "W": state.W, "H": state.H}
    dtype = contender.problem.X.dtype
    inputs = [workload.z.to(dtype)]
    if quantity != "forward":
        inputs += [c.to(dtype) for c in workload.cotangents]
    function = contender.pass_of("forward" if quantity == "forward" else "gradient", *inputs)
    outputs: tuple[Tensor, ...] = ()
    for _ in range(contender.warm_up):  # so that what a CUDA graph replays is looked at
        outputs = function()
    values = dict(zip(("x", "log_det", "gradient"), outputs, strict=False))
    return {"gradient": values["gradient"]} if quantity == "backward" else values


@lru_cache(maxsize=1)
def _exact(workload: Workload) -> dict[str, dict[str, Tensor]]:
    """All quantities at once: the weights in float64 do not fit beside those packed later."""
    flow = workload.frozen.to(torch.float64)
    contender = Contender(
        partial(flow_decode, flow, backend="reference"),
        partial(start, backend="reference"),
        workload.problem(flow),
    )
    return {name: _values(workload, name, contender) for name in workload.shape.quantities}


def check(workload: Workload, quantity: str, contender: Contender) -> dict[str, float]:
    """The contender's errors.

    Raises:
        Disagreement: an error exceeds its tolerance, or is not a number.
    """
    exact = _exact(workload)[quantity]
    with contender.during():
        actual = _values(workload, quantity, contender)
    errors = {name: error_ratio(actual[name], exact[name]) for name in exact}
    table = GLOW_TOLERANCES if workload.shape.kind == "dds3" else BANK_TOLERANCES
    tolerances = table[contender.precision]
    for name, error in errors.items():
        if not error <= tolerances[name]:
            raise Disagreement(f"{name} is off by {error:.1e}, allowed are {tolerances[name]:.0e}")
    return errors
