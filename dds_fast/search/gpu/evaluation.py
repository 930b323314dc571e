"""The objective of a search on a GPU: what stays allocated, and the activations' half-step."""

from __future__ import annotations

import torch
from torch import Tensor

from dds_fast.search.gpu import objective
from dds_fast.search.gpu.schedule import DeviceSchedule
from dds_fast.search.gpu.weights import kernels
from dds_fast.search.problem import Problem


class DeviceObjective:
    """The objective at the current entries and activations.

    Attributes:
        squares: sums of squares of the residual, float64.
        sums: of the frames' mean log-likelihoods and activations, float64; empty where the cost is
            the norm alone.
    """

    def __init__(self, problem: Problem, precision: str, schedule: DeviceSchedule) -> None:
        self.problem, self.precision, self.schedule = problem, precision, schedule
        self.Xt = problem.X.T.contiguous()
        self.residual = torch.empty_like(self.Xt)
        new = self.Xt.new_zeros
        self.squares = new(objective.n_squares(self.Xt, problem.per_frame), dtype=torch.float64)
        summed = problem.sparsity != 0 or problem.flow is not None
        self.sums = new(objective.n_sums(self.Xt) if summed else 0, 2, dtype=torch.float64)
        self.total, self.mean = self.Xt.new_empty(len(self.Xt)), self.Xt.new_empty(len(self.Xt))
        self.unlikely = new(len(problem.H))
        self.one = self.Xt.new_ones(1)

    def evaluate(self, D: Tensor, H: Tensor, log_likelihoods: Tensor | None) -> None:
        """The residual, and the sums of which the cost is made."""
        objective.residual(self.Xt, D, H, self.precision, self.residual, self.squares)
        if len(self.sums):
            likelihoods = self.unlikely if log_likelihoods is None else log_likelihoods
            epsilon = self.problem.epsilon
            objective.sum_frames(H, likelihoods, epsilon, self.total, self.mean, self.sums)

    def dictionary_gradient(self, D: Tensor, H: Tensor) -> Tensor:
        """To the entries, zero where they were clipped."""
        inverse_norm = self.schedule.inverse_norm
        return objective.dictionary_gradient(D, H, self.residual, inverse_norm, self.precision)

    def unscaled_gradient(self, D: Tensor, H: Tensor) -> tuple[Tensor, Tensor | None]:
        """The gradient to the entries times the norm, and the weights of its rows."""
        if self.problem.per_frame:
            return self.residual, H
        return objective.dictionary_gradient(D, H, self.residual, self.one, self.precision), None

    def likelihood_gradient(self, H: Tensor) -> Tensor:
        """To the log-likelihoods, ``(J,)`` or ``(S, T)``."""
        problem = self.problem
        return objective.likelihood_gradient(H, self.total, problem.penalty, problem.per_frame)

    def move_activations(
        self,
        D: Tensor,
        H: Tensor,
        active: Tensor,
        moments: list[Tensor],
        log_likelihoods: Tensor | None,
    ) -> None:
        """A step of Adam on H, and its positive part."""
        problem, (T, F), J = self.problem, self.Xt.shape, len(H)
        likelihoods = self.unlikely if log_likelihoods is None else log_likelihoods
        tensors = (D, self.residual, H, active, *moments, likelihoods, self.mean, self.total)
        numbers = (self.schedule.numbers, self.schedule.counters, problem.penalty, problem.sparsity)
        if problem.per_frame:
            tile = objective.SOURCES
            kernels("search").frame_activations_kernel[(T, -(-J // tile["BLOCK_M"]))](
                *tensors, *numbers, T, F, J, **tile
            )
            return
        blocks = objective.product_blocks(J, T, self.precision)
        kernels("search").activations_kernel[objective.grid(J, T, blocks)](
            *tensors, *numbers, T, F, J, *D.stride(),
            PENALISED=log_likelihoods is not None, PROJECTED=problem.projected, **blocks,
        )  # fmt: skip
