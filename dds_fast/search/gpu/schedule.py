"""The schedule on the device, and how the host reads it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dds_fast.search.gpu.weights import kernels
from dds_fast.search.problem import Problem
from dds_fast.search.schedule import Controller, Schedule


class DeviceSchedule:
    """The numbers of `schedule.Controller`, kept and judged by a kernel.

    Attributes:
        numbers: float32, what the kernels that move something read.
        counters: int64, see ``kernels/search.py`` for the places.
    """

    def __init__(self, problem: Problem, schedule: Schedule) -> None:
        names = kernels("search")
        device = problem.X.device
        self.limits = (schedule.patience, schedule.max_increases, schedule.max_steps)
        wide = [0.0] * 8
        wide[names.BEST.value] = math.inf
        wide[names.STEP_SIZE.value] = schedule.step_size
        wide[names.POWER_1.value] = wide[names.POWER_2.value] = 1.0
        wide[names.PENALTY.value] = problem.penalty
        wide[names.SPARSITY.value] = problem.sparsity
        wide[names.FACTOR.value] = schedule.factor
        wide[names.TOLERANCE.value] = schedule.tolerance
        self.wide = torch.tensor(wide, dtype=torch.float64, device=device)
        self.numbers = torch.zeros(4, dtype=torch.float32, device=device)
        self.counters = torch.zeros(4, dtype=torch.int64, device=device)
        self.history = torch.zeros(schedule.max_steps + 1, dtype=torch.float64, device=device)

    @property
    def inverse_norm(self) -> Tensor:
        return self.numbers[kernels("search").INVERSE_NORM.value :]

    @property
    def stopped(self) -> Tensor:
        """``(1,)`` int32: not 0 once the schedule has stopped."""
        # The low half of a little-endian int64.
        place = kernels("search").STOPPED.value
        return self.counters[place : place + 1].view(torch.int32)[:1]

    def launch(self, squares: Tensor, sums: Tensor, observe: bool) -> None:
        """Take the norm from the objective's sums and, at the end of a step, judge the cost."""
        kernels("search").schedule_kernel[(1,)](
            squares, sums, self.numbers, self.wide, self.counters, self.history,
            squares.numel(), len(sums), *self.limits, OBSERVE=observe, BLOCK=256, num_warps=1,
        )  # fmt: skip

    def fetch(self, controller: Controller) -> None:
        """Wait for the device, and bring the host's view up to date."""
        names = kernels("search")
        counters = self.counters.tolist()
        n_costs, n_known = counters[names.N_COSTS.value], len(controller.history)
        controller.history += self.history[n_known:n_costs].tolist()
        controller.step_size = float(self.wide[names.STEP_SIZE.value])
        reasons = {
            names.MAX_STEPS.value: "max_steps",
            names.CONVERGED.value: "converged",
            names.DIVERGED.value: "diverged",
            names.NON_FINITE.value: "non-finite",
        }
        controller.stop_reason = reasons.get(counters[names.STOPPED.value])
