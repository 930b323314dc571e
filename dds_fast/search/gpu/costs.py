"""The objective of a staged search on a GPU, and its history, which the host reads at its looks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dds_fast.search.gpu import objective
from dds_fast.search.gpu.weights import kernels
from dds_fast.search.problem import StagedProblem


class Costs:
    """The costs so far, and the objective at the current entries and activations.

    Attributes:
        counters: int64, at the places that kernels/search.py names.
    """

    def __init__(self, problem: StagedProblem, Xt: Tensor, precision: str, most_steps: int) -> None:
        self.Xt, self.precision = Xt, precision
        self.penalty, self.epsilon = problem.settings.penalty, problem.epsilon
        (T, _), new = Xt.shape, Xt.new_empty
        self.residual, self.total, self.mean = torch.empty_like(Xt), new(T), new(T)
        self.squares = new(objective.n_squares(Xt, False), dtype=torch.float64)
        self.sums = new(objective.n_sums(Xt), 2, dtype=torch.float64)
        self.wide = torch.tensor([self.penalty], dtype=torch.float64, device=Xt.device)
        self.inverse_norm = new(1)
        self.counters = torch.zeros(4, dtype=torch.int64, device=Xt.device)
        self.history = Xt.new_zeros(most_steps + 1, dtype=torch.float64)

    @property
    def n_costs(self) -> Tensor:
        """``(1,)``, on the device."""
        place = kernels("search").N_COSTS.value
        return self.counters[place : place + 1]

    def go_back(self, n: int) -> None:
        """Forget all costs but the first n."""
        self.counters.zero_()
        self.n_costs.fill_(n)

    def evaluate(self, D: Tensor, H: Tensor, log_likelihoods: Tensor, record: bool) -> None:
        """The objective; after a step its cost is recorded."""
        objective.residual(self.Xt, D, H, self.precision, self.residual, self.squares)
        objective.sum_frames(H, log_likelihoods, self.epsilon, self.total, self.mean, self.sums)
        kernels("staged").cost_kernel[(1,)](
            self.squares, self.sums, self.wide, self.inverse_norm, self.counters, self.history,
            len(self.squares), len(self.sums), RECORD=record, BLOCK=256, num_warps=1,
        )  # fmt: skip

    def gradients(self, D: Tensor, H: Tensor) -> tuple[Tensor, Tensor]:
        """To the entries ``(J, F)``, zero where they were clipped, and to their log-likelihoods."""
        residual, inverse_norm = self.residual, self.inverse_norm
        return (
            objective.dictionary_gradient(D, H, residual, inverse_norm, self.precision),
            objective.likelihood_gradient(H, self.total, self.penalty, False),
        )

    def after(self, n_known: int) -> list[float]:
        """Wait for the costs after so many, up to one that is not finite."""
        costs = self.history[n_known : int(self.n_costs)].tolist()
        finite = [math.isfinite(cost) for cost in costs]
        return costs if all(finite) else costs[: finite.index(False) + 1]
