"""The update step on a GPU: one CUDA graph per step, from latents to the schedule's counters.

A graph's step begins with the decode of the latents as they are and ends with their next move, so
that what the decode keeps for the gradient lives inside the graph:

    decode Z -> residual -> move H -> residual, cost, schedule -> gradient of Z -> move Z

The host never waits for a step. It looks at the schedule every so many steps; where that has
stopped meanwhile, the steps beyond have moved nothing.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from dds_fast.ops.flow.reference import stash_bytes_per_row
from dds_fast.ops.graph import Graphed
from dds_fast.ops.tiled import kernels, on_device_of
from dds_fast.ops.update_step import interface, survivors
from dds_fast.ops.update_step.device_objective import DeviceObjective
from dds_fast.ops.update_step.device_schedule import DeviceSchedule
from dds_fast.ops.update_step.interface import Problem, State
from dds_fast.ops.update_step.schedule import Controller, Schedule
from dds_fast.ops.update_step.survivors import Survivors

STASH_BYTES = 8 << 30
"""Activations of a decode are kept for the gradient up to this size; beyond it the rows are decoded
in chunks, and once more for the gradient."""

ROW_BLOCK = 1024


class Latents:
    """Latent codes with their moments, and the dictionary that is decoded from them."""

    def __init__(
        self, problem: Problem, precision: str, flow_ops: ModuleType, schedule: DeviceSchedule
    ) -> None:
        assert problem.flow is not None and problem.Z is not None
        self.flow, self.precision, self.ops = problem.flow, precision, flow_ops
        self.schedule, self.n_fixed = schedule, problem.n_fixed
        self.data_likelihood = problem.likelihood == "data"
        # What can be dropped as a whole: the flows of a bank (dim 0), or the rows of a single flow.
        self.unit_dim = 0 if problem.per_frame or self.flow.n_groups > 1 else 1
        self.groups = torch.arange(self.flow.n_groups, device=problem.Z.device)
        self.Z = problem.Z.detach().clone(memory_format=torch.contiguous_format)
        self.moments = [torch.zeros_like(self.Z), torch.zeros_like(self.Z)]
        row_bytes = stash_bytes_per_row(self.flow) * len(self.groups)
        self.chunk = max(1, STASH_BYTES // row_bytes)

    @property
    def n_free(self) -> int:
        return self.Z.shape[-1] - self.n_fixed

    def decode(self) -> tuple[Tensor, Tensor]:
        """``(G, R, F)`` clipped rows and their ``(G, R)`` log-likelihoods."""
        self.stash = None
        if self.Z.shape[1] <= self.chunk:
            entries, log_det, self.stash = self._forward(self.Z, True)
        else:
            parts = [self._forward(rows, False)[:2] for rows in self.Z.split(self.chunk, dim=1)]
            entries, log_det = (torch.cat(tensors, dim=1) for tensors in zip(*parts, strict=True))
        log_likelihoods = self._launch_latents(None, None)
        if self.data_likelihood:
            log_likelihoods -= log_det / self.n_free
        return entries.clamp_min_(0), log_likelihoods

    def _forward(self, rows: Tensor, keep: bool) -> tuple:
        return self.ops.forward(self.flow, rows, "decode", keep, self.precision, self.groups)

    def move(self, grad_entries: Tensor, grad_log_likelihoods: Tensor) -> None:
        """One step of Adam down the gradients to the dictionary and to its log-likelihoods."""
        grad_log_det = None
        if self.data_likelihood:
            grad_log_det = grad_log_likelihoods / -self.n_free
        self._launch_latents(self._backward(grad_entries, grad_log_det), grad_log_likelihoods)

    def _backward(self, grad_entries: Tensor, grad_log_det: Tensor | None) -> Tensor:
        if self.stash is not None:
            return self.ops.backward(self.flow, self.stash, grad_entries, grad_log_det, "decode")
        parts = []
        for first in range(0, self.Z.shape[1], self.chunk):
            rows = slice(first, first + self.chunk)
            stash = self._forward(self.Z[:, rows], True)[2]
            of_log_det = None if grad_log_det is None else grad_log_det[:, rows]
            parts.append(
                self.ops.backward(self.flow, stash, grad_entries[:, rows], of_log_det, "decode")
            )
        return torch.cat(parts, dim=1)

    def _launch_latents(
        self, gradient: Tensor | None, grad_log_likelihoods: Tensor | None
    ) -> Tensor:
        """Moves the latents, if there is a gradient; returns their log-likelihoods."""
        log_likelihoods = self.Z.new_empty(self.Z.shape[:2])
        move = gradient is not None
        kernels("search").latents_kernel[(log_likelihoods.numel(),)](
            self.Z, *self.moments, gradient if move else self.Z,
            grad_log_likelihoods if move else self.Z, log_likelihoods,
            self.schedule.numbers, self.schedule.counters,
            N_FEATURES=self.Z.shape[-1], N_FIXED=self.n_fixed, BLOCK=ROW_BLOCK, MOVE=move,
        )  # fmt: skip
        return log_likelihoods

    def keep_only(self, units: Tensor) -> None:
        """Go on with the given flows or rows."""
        if self.unit_dim == 0:
            self.groups = self.groups[units]
        self.Z = self.Z.index_select(self.unit_dim, units)
        self.moments = [m.index_select(self.unit_dim, units) for m in self.moments]


class UpdateStep(interface.UpdateStep):
    """A search with a fixed dictionary, or with the flow backend `flow_ops`."""

    stride = survivors.DROP_EVERY

    def __init__(
        self, problem: Problem, schedule: Schedule, precision: str, flow_ops: ModuleType
    ) -> None:
        self.problem, self.precision = problem, precision
        self.controller = Controller(schedule)
        with on_device_of(problem.X):
            self.schedule = DeviceSchedule(problem, schedule)
            self.H = problem.H.detach().clone(memory_format=torch.contiguous_format)
            self.active = self.H.clamp_min(0)
            self.moments = [torch.zeros_like(self.H), torch.zeros_like(self.H)]
            self.survivors = Survivors(len(self.H), self.H.device)
            self.objective = DeviceObjective(problem, precision, self.schedule)
            self.log_likelihoods: Tensor | None = None
            self.latents: Latents | None = None
            if problem.flow is None:
                assert problem.W is not None
                self.D = problem.W.T
            else:
                self.latents = Latents(problem, precision, flow_ops, self.schedule)
            self._decode()
            self._evaluate(observe=True)
            self._move_latents()
            self.graph = Graphed(self._update, self.H.device)
        self.schedule.tell(self.controller)

    def _decode(self) -> None:
        if self.latents is None:
            return
        entries, log_likelihoods = self.latents.decode()
        if not self.problem.per_frame:
            entries, log_likelihoods = entries.flatten(0, 1), log_likelihoods.flatten()
        self.D, self.log_likelihoods = entries, log_likelihoods

    def _evaluate(self, observe: bool) -> None:
        self.objective.evaluate(self.D, self.active, self.log_likelihoods)
        self.schedule.launch(self.objective.squares, self.objective.sums, observe)

    def _move_latents(self) -> None:
        if self.latents is None:
            return
        grad_entries = self.objective.dictionary_gradient(self.D, self.active)
        grad_log_likelihoods = self.objective.likelihood_gradient(self.active)
        shape = self.latents.Z.shape[:2]
        self.latents.move(grad_entries.view(*shape, -1), grad_log_likelihoods.view(shape))

    def _update(self) -> None:
        self._decode()
        if self.latents is not None:
            self._evaluate(observe=False)
        self.objective.move_activations(
            self.D, self.H, self.active, self.moments, self.log_likelihoods
        )
        self._evaluate(observe=True)
        self._move_latents()

    def advance(self, n_steps: int = 1) -> None:
        """Up to `n_steps` update steps; then look at the schedule."""
        if self.controller.stop_reason is not None:
            return
        n_before = len(self.controller.history) - 1
        with on_device_of(self.H):
            for _ in range(n_steps):
                self.graph()
        self.schedule.tell(self.controller)
        n_after = len(self.controller.history) - 1
        every = survivors.DROP_EVERY
        if self.controller.stop_reason is None and n_before // every != n_after // every:
            self._drop_dead()

    def _drop_dead(self) -> None:
        """Leave out the flows or rows whose activations are dead in every frame."""
        if self.latents is None:
            return
        n_units = self.latents.Z.shape[self.latents.unit_dim]
        units = self.survivors.alive_units(self.active, n_units)
        if units is None:
            return
        assert self.log_likelihoods is not None
        rows = self.survivors.keep(units, n_units, self.D, self.log_likelihoods)
        self.latents.keep_only(units)
        self.H, self.active = self.H[rows], self.active[rows]
        self.moments = [m[rows] for m in self.moments]
        self.D, self.log_likelihoods = self.D[rows], self.log_likelihoods[rows]
        self.graph = Graphed(self._update, self.H.device)

    def state(self) -> State:
        """The current dictionary and activations; dropped entries as they were last."""
        if self.problem.W is not None:
            return State(self.problem.W, self.active.clone(), None)
        return self.survivors.state(self.D, self.H, self.log_likelihoods)
