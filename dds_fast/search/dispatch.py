"""Choosing a backend: one predicate per backend serves the chooser and the forced path."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import ModuleType

import torch

from dds_fast.choices import PRECISIONS
from dds_fast.flows.frozen import FrozenFlow

logger = logging.getLogger("dds_fast")


@dataclass(frozen=True)
class Request:
    """What a caller wants computed: on which device, in which dtype, at which precision.

    `flow` is the one to compute with, where the op has one and it is known; `named` tells a backend
    that it was asked for by name.
    """

    device: torch.device
    dtype: torch.dtype
    precision: str
    flow: FrozenFlow | None = None
    named: bool = False

    @classmethod
    def of(
        cls, tensor: torch.Tensor, precision: str | None = None, flow: FrozenFlow | None = None
    ) -> Request:
        """The request of an op called on `tensor`; `precision` defaults to the tensor's dtype."""
        name = str(tensor.dtype).removeprefix("torch.")
        precision = name if precision is None else precision
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {PRECISIONS}, not {precision!r}")
        return cls(tensor.device, tensor.dtype, precision, flow)


def accept(reason: str | None, raise_error: bool) -> bool:
    """Turn a backend's reason for refusing (None: it can run) into its `can_run` answer."""
    if reason is not None and raise_error:
        raise RuntimeError(reason)
    return reason is None


def select(
    op: str, backends: Mapping[str, ModuleType], request: Request, backend: str = "auto"
) -> ModuleType:
    """The backend to run.

    Args:
        op: name of the op, for messages.
        backends: candidate modules by name, fastest first. Each has
            ``can_run(request, raise_error=False)``.
        request: what is to be computed.
        backend: a name, or "auto" for the first that can run. The environment variable
            ``DDS_FAST_BACKEND`` stands in for "auto".

    Raises:
        ValueError: unknown backend name.
        RuntimeError: the backend asked for by name, or every backend, refuses; with the reasons.
    """
    if backend == "auto":
        backend = os.environ.get("DDS_FAST_BACKEND", "auto")
    if backend != "auto":
        if backend not in backends:
            raise ValueError(f"{op} has no backend {backend!r}; it has {', '.join(backends)}")
        backends[backend].can_run(replace(request, named=True), raise_error=True)
        return backends[backend]
    name, refusals = explain(backends, request)
    for refusal in refusals:
        logger.debug("%s: backend refused: %s", op, refusal)
    if name is None:
        raise RuntimeError(
            f"no backend of {op} can run {request.precision} on {request.device} "
            f"({'; '.join(refusals)})"
        )
    return backends[name]


def explain(backends: Mapping[str, ModuleType], request: Request) -> tuple[str | None, list[str]]:
    """The name of the backend that "auto" takes, and why each one before it was refused."""
    refusals = []
    for name, module in backends.items():
        try:
            module.can_run(request, raise_error=True)
        except RuntimeError as refusal:
            refusals.append(f"{name}: {refusal}")
            continue
        return name, refusals
    return None, refusals
