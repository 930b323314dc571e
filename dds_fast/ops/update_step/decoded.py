"""The search for latent codes and activations on the CPU, compiled.

Each block of rows goes through backward, Adam and the next decode back to back, so that a step
reads a flow's weights from memory once and finds them in the cache the second time.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dds_fast import _native
from dds_fast.ops.packed import address, buffer, packed_flow
from dds_fast.ops.update_step import adam, interface, reference, survivors
from dds_fast.ops.update_step.interface import Problem, State
from dds_fast.ops.update_step.products import FrameProducts, SharedProducts
from dds_fast.ops.update_step.schedule import Controller, Schedule
from dds_fast.ops.update_step.survivors import Survivors


class _Latents:
    """Latent codes with their moments, and the dictionary that is decoded from them."""

    def __init__(self, problem: Problem, precision: str) -> None:
        assert problem.flow is not None and problem.Z is not None
        self.flow = packed_flow(problem.flow, "decode", precision)
        self.data_likelihood, self.n_fixed = problem.likelihood == "data", problem.n_fixed
        # What can be dropped as a whole: the flows of a bank (dim 0), or the rows of a single flow.
        self.unit_dim = 0 if problem.per_frame or problem.flow.n_groups > 1 else 1
        self.groups = torch.arange(problem.flow.n_groups)
        self.Z = problem.Z.detach().clone(memory_format=torch.contiguous_format)
        moments = torch.zeros_like(self.Z[..., self.n_fixed :])
        self.moments = [moments.contiguous(), moments.clone(memory_format=torch.contiguous_format)]
        self.n_moved = 0
        self.decode()

    def decode(self) -> None:
        """The dictionary ``(G, R, F)`` and its ``(G, R)`` log-likelihoods at the latents as they
        are, and what their gradient needs, if there is room to keep it."""
        shape, n_threads = self.Z.shape[:2], torch.get_num_threads()
        native = self.flow.native
        stash_bytes = shape.numel() * native.stash_row_bytes
        self.stash = buffer(stash_bytes) if stash_bytes <= reference.STASH_BYTES else None
        self.scratch = self.flow.scratch(*shape, self.stash is None, n_threads)
        self.entries = torch.empty_like(self.Z)
        log_det = self.Z.new_empty(shape)
        native.forward(
            *shape,
            self.groups.data_ptr(),
            self.Z.data_ptr(),
            self.entries.data_ptr(),
            log_det.data_ptr(),
            address(self.stash),
            self.scratch.data_ptr(),
            n_threads,
        )
        self.entries.clamp_min_(0)
        self.constants = self.flow.constants[self.groups]
        free = self.Z[..., self.n_fixed :]
        D = free.shape[-1]
        self.log_likelihoods = -0.5 * math.log(2 * math.pi) - free.square().sum(-1) / (2 * D)
        if self.data_likelihood:
            self.log_likelihoods -= (log_det + self.constants[:, None]) / D

    def move(
        self,
        step_size: float,
        gradient: Tensor,
        row_weights: Tensor | None,
        scale: float,
        grad_log_likelihoods: Tensor,
    ) -> None:
        """One step down `scale` times the gradient to the dictionary, and the next decode."""
        self.n_moved += 1
        shape = self.Z.shape[:2]
        self.flow.native.update(
            *shape,
            self.groups.data_ptr(),
            gradient.data_ptr(),
            address(row_weights),
            grad_log_likelihoods.data_ptr(),
            scale,
            self.data_likelihood,
            self.n_fixed,
            *adam.corrections(step_size, self.n_moved),
            self.Z.data_ptr(),
            self.moments[0].data_ptr(),
            self.moments[1].data_ptr(),
            self.entries.data_ptr(),
            self.constants.data_ptr(),
            self.log_likelihoods.data_ptr(),
            address(self.stash),
            self.scratch.data_ptr(),
            torch.get_num_threads(),
        )

    def keep_only(self, units: Tensor) -> None:
        """Go on with the given flows or rows."""
        if self.unit_dim == 0:
            self.groups = self.groups[units]
        self.Z = self.Z.index_select(self.unit_dim, units)
        self.moments = [m.index_select(self.unit_dim, units) for m in self.moments]
        self.decode()


class _Activations:
    """Activations ``(J, T)`` with their moments; `active` is their positive part."""

    def __init__(self, H: Tensor) -> None:
        self.H = H.detach().clone(memory_format=torch.contiguous_format)
        self.active = self.H.clamp_min(0)
        self.moments = [torch.zeros_like(self.H), torch.zeros_like(self.H)]
        self.n_moved = 0

    def move(
        self,
        step_size: float,
        correlation: Tensor,
        inverse_norm: float,
        log_likelihoods: Tensor,
        attributed: Tensor,
        total: Tensor,
        penalty: float,
        sparsity: float,
    ) -> None:
        self.n_moved += 1
        _native.cpu().move_activations(
            *self.H.shape,
            correlation.data_ptr(),
            inverse_norm,
            log_likelihoods.data_ptr(),
            log_likelihoods.ndim == 2,
            attributed.data_ptr(),
            total.data_ptr(),
            penalty,
            sparsity,
            *adam.corrections(step_size, self.n_moved),
            self.H.data_ptr(),
            self.moments[0].data_ptr(),
            self.moments[1].data_ptr(),
            self.active.data_ptr(),
            torch.get_num_threads(),
        )

    def keep_only(self, rows: Tensor) -> None:
        self.H, self.active = self.H[rows], self.active[rows]
        self.moments = [m[rows] for m in self.moments]


class UpdateStep(interface.UpdateStep):
    """One native call per half-step, and the products of the objective between them."""

    def __init__(self, problem: Problem, schedule: Schedule, precision: str) -> None:
        self.problem = problem
        self.controller = Controller(schedule)
        Xt = problem.X.T.contiguous()
        self.products: FrameProducts | SharedProducts
        if problem.per_frame:
            self.products = FrameProducts(Xt)
        else:
            self.products = SharedProducts(Xt, precision)
        self.latents = _Latents(problem, precision)
        self.activations = _Activations(problem.H)
        self.survivors = Survivors(len(problem.H), problem.H.device)
        self._evaluate()
        self.controller.observe(self.cost)

    @property
    def D(self) -> Tensor:
        """Clipped dictionary, ``(J, F)`` or ``(S, T, F)``."""
        entries = self.latents.entries
        return entries if self.problem.per_frame else entries.view(-1, entries.shape[-1])

    @property
    def log_likelihoods(self) -> Tensor:
        """``(J,)`` or ``(S, T)``."""
        values = self.latents.log_likelihoods
        return values if self.problem.per_frame else values.view(-1)

    def _evaluate(self) -> None:
        """The objective at the current dictionary and activations."""
        active, problem = self.activations.active, self.problem
        self.residual = self.products.residual(self.D, active)
        squares = _native.cpu().sum_of_squares(
            self.residual.data_ptr(), *self.residual.shape, torch.get_num_threads()
        )
        self.norm = math.sqrt(squares)
        sums = active.sum(0)
        self.total = sums + problem.epsilon
        if problem.per_frame:
            self.attributed = (active * self.log_likelihoods).sum(0) / self.total
        else:
            self.attributed = torch.mv(active.T, self.log_likelihoods) / self.total
        self.cost = (
            self.norm
            - problem.penalty * float(self.attributed.sum(dtype=torch.float64))
            + problem.sparsity * float(sums.sum(dtype=torch.float64))
        )

    @property
    def _inverse_norm(self) -> float:
        return 1 / self.norm if self.norm > 0 else 0.0

    def _step_latents(self) -> None:
        active = self.activations.active
        gradient, row_weights = self.products.gradient(active, self.residual)
        if self.problem.per_frame:
            grad_log_likelihoods = active / self.total * -self.problem.penalty
        else:
            grad_log_likelihoods = torch.mv(active, -self.problem.penalty / self.total)
        self.latents.move(
            self.controller.step_size,
            gradient,
            row_weights,
            self._inverse_norm,
            grad_log_likelihoods,
        )
        self._evaluate()

    def _step_activations(self) -> None:
        self.activations.move(
            self.controller.step_size,
            self.products.correlation(self.D, self.residual),
            self._inverse_norm,
            self.log_likelihoods,
            self.attributed,
            self.total,
            self.problem.penalty,
            self.problem.sparsity,
        )
        self._evaluate()

    def _drop_dead(self) -> None:
        """Leave out the flows or rows whose activations are dead in every frame."""
        latents, active = self.latents, self.activations.active
        n_units = latents.Z.shape[latents.unit_dim]
        units = self.survivors.alive_units(active, n_units)
        if units is None:
            return
        rows = self.survivors.keep(units, n_units, self.D, self.log_likelihoods)
        latents.keep_only(units)
        self.activations.keep_only(rows)
        self._evaluate()

    def advance(self, n_steps: int = 1) -> None:
        """Z half-step, decode, H half-step, schedule; up to `n_steps` times."""
        for _ in range(n_steps):
            if self.controller.stop_reason is not None:
                return
            self._step_latents()
            self._step_activations()
            self.controller.observe(self.cost)
            if (len(self.controller.history) - 1) % survivors.DROP_EVERY == 0:
                self._drop_dead()

    def state(self) -> State:
        """The current dictionary and activations; dropped entries as they were last."""
        return self.survivors.state(self.D, self.activations.H, self.log_likelihoods)
