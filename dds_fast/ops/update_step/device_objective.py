"""The objective of a search and its gradients on a GPU.

`Xt` and the residual are ``(T, F)``, entries ``(J, F)``, or ``(S, T, F)`` with one per source and
frame.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dds_fast.ops.tiled import kernels
from dds_fast.ops.update_step.device_schedule import DeviceSchedule
from dds_fast.ops.update_step.interface import Problem

N_PROGRAMS = 128
"""Products are cut into at least about so many tiles, if they are large enough."""


def products_precision(precision: str) -> str:
    """The objective's products are few beside the flow's, and the schedule compares their norm."""
    return "bf16x3" if precision == "bfloat16" else precision


def product_blocks(n_m: int, n_n: int, precision: str) -> dict[str, int]:
    """The largest square tiles of which there are enough."""
    enough = -(-n_m // 64) * -(-n_n // 64) >= N_PROGRAMS
    size, warps = (64, 8) if enough else (32, 4)
    return {
        "PRECISION": products_precision(precision),
        "BLOCK_M": size,
        "BLOCK_N": size,
        "BLOCK_K": 32,
        "num_warps": warps,
        "num_stages": 3,
    }


def grid(n_m: int, n_n: int, blocks: dict[str, Any]) -> tuple[int, int]:
    return -(-n_m // blocks["BLOCK_M"]), -(-n_n // blocks["BLOCK_N"])


ENTRIES_BLOCK = {"BLOCK_M": 32, "BLOCK_N": 32}


class _Objective:
    """What both forms of the dictionary share."""

    per_frame: bool

    def __init__(self, problem: Problem, precision: str, schedule: DeviceSchedule) -> None:
        self.problem, self.precision, self.schedule = problem, precision, schedule
        self.Xt = problem.X.T.contiguous()
        self.T, self.F = self.Xt.shape
        self.residual = torch.empty_like(self.Xt)
        # With neither, the cost is the norm.
        self.has_sums = problem.penalty != 0 or problem.sparsity != 0 or problem.flow is not None
        n_blocks = -(-self.T // ENTRIES_BLOCK["BLOCK_N"])
        self.sums = self.Xt.new_zeros(n_blocks if self.has_sums else 0, 2, dtype=torch.float64)
        self.total, self.attributed = self.Xt.new_empty(self.T), self.Xt.new_empty(self.T)
        self.none = self.Xt.new_zeros(len(problem.H))

    def _sum_frames(self, H: Tensor, log_likelihoods: Tensor | None) -> None:
        if not self.has_sums:
            return
        kernels("objective").frames_kernel[(len(self.sums),)](
            H, self.none if log_likelihoods is None else log_likelihoods,
            self.total, self.attributed, self.sums, self.problem.epsilon, self.T, len(H),
            PER_FRAME=self.per_frame, **ENTRIES_BLOCK,
        )  # fmt: skip

    def likelihood_gradient(self, H: Tensor) -> Tensor:
        """To the log-likelihoods, ``(J,)`` or ``(S, T)``."""
        J = len(H)
        gradient = H.new_empty(H.shape if self.per_frame else J)
        kernels("objective").likelihood_gradient_kernel[(-(-J // ENTRIES_BLOCK["BLOCK_M"]),)](
            H, self.total, gradient, self.problem.penalty, self.T, J,
            PER_FRAME=self.per_frame, **ENTRIES_BLOCK,
        )  # fmt: skip
        return gradient


class SharedObjective(_Objective):
    """For entries ``(J, F)`` that all frames share."""

    per_frame = False

    def __init__(self, problem: Problem, precision: str, schedule: DeviceSchedule) -> None:
        super().__init__(problem, precision, schedule)
        self.blocks = product_blocks(self.T, self.F, precision)
        self.grid = grid(self.T, self.F, self.blocks)
        self.squares = self.Xt.new_zeros(self.grid[0] * self.grid[1], dtype=torch.float64)

    def evaluate(self, D: Tensor, H: Tensor, log_likelihoods: Tensor | None) -> None:
        """The residual, and the sums of which the cost is made."""
        kernels("objective").residual_kernel[self.grid](
            H, D, self.Xt, self.residual, self.squares, self.T, self.F, len(H),
            H.stride(0), *D.stride(), **self.blocks,
        )  # fmt: skip
        self._sum_frames(H, log_likelihoods)

    def dictionary_gradient(self, D: Tensor, H: Tensor) -> Tensor:
        """To the entries, ``(J, F)``."""
        gradient = torch.empty_like(D)
        blocks = product_blocks(len(D), self.F, self.precision)
        kernels("objective").dictionary_gradient_kernel[grid(len(D), self.F, blocks)](
            H, D, self.residual, self.schedule.inverse_norm, gradient, self.T, self.F, len(H),
            **blocks,
        )  # fmt: skip
        return gradient

    def move_activations(
        self,
        D: Tensor,
        H: Tensor,
        active: Tensor,
        moments: list[Tensor],
        log_likelihoods: Tensor | None,
    ) -> None:
        """A step of Adam on H, and its positive part."""
        blocks = product_blocks(len(D), self.T, self.precision)
        kernels("search").activations_kernel[grid(len(D), self.T, blocks)](
            D, self.residual, H, active, *moments,
            self.none if log_likelihoods is None else log_likelihoods,
            self.attributed, self.total, self.schedule.numbers, self.schedule.counters,
            self.problem.penalty, self.problem.sparsity, self.T, self.F, len(H), *D.stride(),
            PENALISED=log_likelihoods is not None, PROJECTED=self.problem.projected, **blocks,
        )  # fmt: skip


class FrameObjective(_Objective):
    """For entries ``(S, T, F)``, one per source and frame (DDS-1)."""

    per_frame = True
    blocks = {"BLOCK_M": 16, "BLOCK_N": 64}

    def __init__(self, problem: Problem, precision: str, schedule: DeviceSchedule) -> None:
        super().__init__(problem, precision, schedule)
        self.grid = grid(self.T, self.F, self.blocks)
        self.squares = self.Xt.new_zeros(self.grid[0] * self.grid[1], dtype=torch.float64)

    def evaluate(self, D: Tensor, H: Tensor, log_likelihoods: Tensor | None) -> None:
        """The residual, and the sums of which the cost is made."""
        kernels("objective").frame_residual_kernel[self.grid](
            H, D, self.Xt, self.residual, self.squares, self.T, self.F, len(H), **self.blocks
        )
        self._sum_frames(H, log_likelihoods)

    def dictionary_gradient(self, D: Tensor, H: Tensor) -> Tensor:
        """To the entries, ``(S, T, F)``."""
        gradient = torch.empty_like(D)
        kernels("objective").frame_dictionary_gradient_kernel[(self.T, len(H))](
            H, D, self.residual, self.schedule.inverse_norm, gradient, self.T, self.F, len(H),
            BLOCK_N=512,
        )  # fmt: skip
        return gradient

    def move_activations(
        self,
        D: Tensor,
        H: Tensor,
        active: Tensor,
        moments: list[Tensor],
        log_likelihoods: Tensor | None,
    ) -> None:
        """A step of Adam on H, and its positive part."""
        kernels("search").frame_activations_kernel[(self.T, -(-len(H) // 16))](
            D, self.residual, H, active, *moments, log_likelihoods, self.attributed, self.total,
            self.schedule.numbers, self.schedule.counters,
            self.problem.penalty, self.problem.sparsity, self.T, self.F, len(H),
            BLOCK_M=16, BLOCK_N=128,
        )  # fmt: skip
