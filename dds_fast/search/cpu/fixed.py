"""The update step with a fixed dictionary on the CPU: projected Adam on H, compiled.

Two forms, chosen by shape. The direct form takes two products with W a step, and one pass over the
residual that yields its norm. The Gram form takes one product with ``G = W^T W``, in float64:
``||X - W H||^2 = ||X||^2 - 2 <W^T X, H> + <H, G H>`` cancels, and the schedule compares costs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dds_fast import _native, arrays
from dds_fast.search.cpu import adam
from dds_fast.search.problem import Problem, State
from dds_fast.search.schedule import Controller, Schedule
from dds_fast.search.search import Search

GRAM_SHARE = 0.75
"""The Gram form pays for up to this share of F entries: its product has ``J / 2F`` of the direct
form's operations, in float64. Measured at F = 1024 and T = 300: ahead at 768 entries, behind at
1024."""


class _Direct:
    """Cost and gradient from the residual."""

    def __init__(self, X: Tensor, W: Tensor, H: Tensor) -> None:
        self.X, self.W = X.contiguous(), W
        self.residual = torch.empty_like(self.X)
        self.gradient = torch.empty_like(H)
        self.sums = torch.empty(_native.cpu().residual_sums(X.numel()), dtype=torch.float64)

    def cost(self, H: Tensor) -> float:
        torch.mm(self.W, H, out=self.residual)
        square = _native.cpu().nmf_residual(
            self.X.data_ptr(),
            self.residual.data_ptr(),
            self.X.numel(),
            self.sums.data_ptr(),
            torch.get_num_threads(),
        )
        return math.sqrt(square)

    def move(self, scale: float, sparsity: float, *adam_arguments: int | float) -> None:
        torch.mm(self.W.T, self.residual, out=self.gradient)
        if sparsity:
            self.gradient += sparsity / scale
        _native.cpu().nmf_adam(self.gradient.data_ptr(), scale, *adam_arguments)


class _Gram:
    """Cost and gradient from inner products, in float64."""

    def __init__(self, X: Tensor, W: Tensor, H: Tensor) -> None:
        X, W = X.double(), W.double()
        self.square = float(X.square().sum())
        self.gram, self.target = W.T @ W, W.T @ X
        self.H = H.double()
        self.product = torch.empty_like(self.H)
        self.sums = torch.empty(_native.cpu().residual_sums(H.numel()), dtype=torch.float64)

    def cost(self, H: Tensor) -> float:
        torch.mm(self.gram, self.H, out=self.product)
        change = _native.cpu().nmf_gram_cost(
            self.H.data_ptr(),
            self.product.data_ptr(),
            self.target.data_ptr(),
            self.H.numel(),
            self.sums.data_ptr(),
            torch.get_num_threads(),
        )
        square = self.square + change
        # Rounding may leave a perfect fit below zero; NaN must stay NaN.
        return 0.0 if square < 0 else math.sqrt(square)

    def move(self, scale: float, sparsity: float, *adam_arguments: int | float) -> None:
        if sparsity:
            self.product += sparsity / scale
        _native.cpu().nmf_adam_gram(
            self.product.data_ptr(),
            self.target.data_ptr(),
            scale,
            self.H.data_ptr(),
            *adam_arguments,
        )


class FixedSearch(Search):
    """For problems with a dictionary W."""

    def __init__(self, problem: Problem, schedule: Schedule) -> None:
        assert problem.W is not None
        self.controllers = [Controller(schedule)]
        self.most_steps = schedule.max_steps
        self.W, self.sparsity = problem.W, problem.sparsity
        self.H = problem.H.clone(memory_format=torch.contiguous_format)
        self.moments = torch.zeros_like(self.H), torch.zeros_like(self.H)
        F, J = self.W.shape
        self.form = (_Gram if J <= GRAM_SHARE * F else _Direct)(problem.X, self.W, self.H)
        self._observe()

    def _observe(self) -> None:
        self.norm = cost = self.form.cost(self.H)
        if self.sparsity:
            cost += self.sparsity * float(self.H.sum(dtype=torch.float64))
        self.controller.observe(cost)

    @arrays.isolated()
    def advance(self, n_steps: int = 1) -> None:
        """Gradient, Adam, projection, schedule; up to `n_steps` times."""
        for _ in range(n_steps):
            if self.controller.stop_reason is not None:
                return
            step = len(self.controller.history)
            self.form.move(
                1 / self.norm if self.norm > 0 else 0.0,
                self.sparsity,
                *adam.corrections(self.controller.step_size, step),
                *(moment.data_ptr() for moment in self.moments),
                self.H.data_ptr(),
                self.H.numel(),
                torch.get_num_threads(),
            )
            self._observe()

    def states(self) -> list[State]:
        """The dictionary as given, and the current activations."""
        return [State(self.W, self.H.clone(), None)]
