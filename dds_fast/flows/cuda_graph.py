"""A function captured once as a CUDA graph and then replayed: one launch instead of thousands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

WARM_UP = 3
"""Calls before the capture: libraries make their handles and workspaces, autotuners choose."""


class Graphed:
    """Calls a function; on a GPU, after some calls, by replaying what it launched.

    Every call runs the function's work exactly once, warm-up and capture included, so a function
    that changes its own tensors in place (an optimizer's step) can be graphed. Its Python code runs
    no more after the capture. On other devices every call simply runs the function.

    The function must not wait for the device, and must work on tensors that stay where they are:
    those it holds, and its arguments, which are copied to places of their own. Calls with arguments
    of another shape or dtype than the first run the function as it is.

    What it returns is overwritten by the next call.

    Args:
        function: of tensors, without gradient to them; may return any structure of tensors.
        device: where it computes.
        warm_up: calls before the capture.

    Example:
        >>> total = torch.zeros(2)
        >>> add = Graphed(lambda x: total.add_(x), total.device)
        >>> for _ in range(5):
        ...     result = add(torch.ones(2))
        >>> total
        tensor([5., 5.])
    """

    def __init__(
        self, function: Callable[..., Any], device: torch.device, warm_up: int = WARM_UP
    ) -> None:
        self.function, self.device, self.warm_up = function, device, warm_up
        self.inputs: list[Tensor] = []
        self.outputs: Any = None
        self.n_calls = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    @property
    def captured(self) -> bool:
        """Whether calls are replayed by now."""
        return self.graph is not None

    def __call__(self, *inputs: Tensor) -> Any:
        """Run the function's work once; the same structure is returned by every replay."""
        if self.stream is None:
            return self.function(*inputs)
        if self.n_calls == 0:
            self.inputs = [x.detach().clone() for x in inputs]
        if not self._fit(inputs):
            return self.function(*inputs)
        for place, x in zip(self.inputs, inputs, strict=True):
            place.copy_(x, non_blocking=True)
        self.n_calls += 1
        if self.n_calls <= self.warm_up:
            return self._aside(self.stream)
        if self.graph is None:
            self.graph = self._capture(self.stream)
        self.graph.replay()
        return self.outputs

    def _fit(self, inputs: tuple[Tensor, ...]) -> bool:
        places = [(place.shape, place.dtype) for place in self.inputs]
        return places == [(x.shape, x.dtype) for x in inputs]

    def _aside(self, stream: torch.cuda.Stream) -> Any:
        """Run the function on the stream of the capture, between what comes before and after."""
        current = torch.cuda.current_stream(self.device)
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            outputs = self.function(*self.inputs)
        current.wait_stream(stream)
        return outputs

    def _capture(self, stream: torch.cuda.Stream) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        # Other threads may use the device meanwhile; only this one must not wait for it.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            self.outputs = self.function(*self.inputs)
        return graph
