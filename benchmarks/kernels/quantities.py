"""What is timed of a flow: a decode, its backward, both as one, or an update step of a search."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from kernels.accuracy import SCHEDULE, check
from kernels.cases import Workload
from kernels.contenders import Build, Contender
from kernels.race import Calls, Racer, again


def _forward(workload: Workload, contender: Contender) -> Iterator[Calls]:
    decode = contender.pass_of("forward", workload.z)
    for _ in range(contender.warm_up):
        decode()  # the others have emptied the caches
    while True:
        yield again(decode)


def _backward(workload: Workload, contender: Contender) -> Iterator[Calls]:
    """On a CPU, where a sample is one call."""
    z = workload.z.clone().requires_grad_()
    while True:
        outputs = contender.decode(z)
        yield again(partial(torch.autograd.grad, outputs, z, workload.cotangents))


def _gradient(workload: Workload, contender: Contender) -> Iterator[Calls]:
    both = contender.pass_of("gradient", workload.z, *workload.cotangents)
    for _ in range(contender.warm_up):
        both()
    while True:
        yield again(both)


def _step(workload: Workload, contender: Contender) -> Iterator[Calls]:
    # On a CPU a new search each turn: old ones leave out the entries that have died.
    schedule = SCHEDULE if workload.device.type == "cpu" else workload.endless
    search = contender.start(contender.problem, schedule)
    search.advance(contender.warm_up)
    while True:
        yield search.advance


QUANTITIES: dict[str, Callable[[Workload, Contender], Iterator[Calls]]] = {
    "forward": _forward,
    "backward": _backward,
    "gradient": _gradient,
    "step": _step,
}


def racer(workload: Workload, quantity: str, build: Build) -> Racer:
    """A contender, checked.

    Raises:
        Disagreement: its values are not those of float64.
        Exception: whatever keeps it from computing.
    """
    contender = build(workload)
    errors = check(workload, quantity, contender)
    info: dict[str, Any] = {
        "precision": contender.precision,
        "weight_bytes": workload.n_weights * contender.bytes_per_weight,
        "passes": workload.passes(quantity),
        "multiply_adds": workload.multiply_adds(quantity),
        "errors": errors,
    }
    return Racer(partial(QUANTITIES[quantity], workload, contender), info, contender.during)
