"""The search for latent codes and activations on the CPU, compiled.

Whole update steps are native. In them, each block of rows goes through backward, Adam and the next
decode back to back, so that a step reads a flow's weights from memory once and finds them in the
cache the second time.
"""

from __future__ import annotations

import math
from dataclasses import asdict

import torch
from torch import Tensor

from dds_fast import _native
from dds_fast.ops.packed import address, buffer, packed_flow, state_format
from dds_fast.ops.update_step import interface, reference, survivors
from dds_fast.ops.update_step.interface import Problem, State
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

    def keep_only(self, rows: Tensor) -> None:
        self.H, self.active = self.H[rows], self.active[rows]
        self.moments = [m[rows] for m in self.moments]


class UpdateStep(interface.UpdateStep):
    """Holds the memory of a native search, which does whole update steps."""

    def __init__(self, problem: Problem, schedule: Schedule, precision: str) -> None:
        self.problem = problem
        self.controller = Controller(schedule)
        self.schedule = _native.cpu().Schedule(**asdict(schedule))
        self.products = state_format(precision)
        self.Xt = problem.X.T.contiguous()
        self.latents = _Latents(problem, precision)
        self.activations = _Activations(problem.H)
        self.survivors = Survivors(len(problem.H), problem.H.device)
        self._begin()
        self.schedule.observe(self.search.cost)
        self._tell([self.search.cost])

    def _begin(self) -> None:
        """A native search from where the variables stand."""
        problem, latents, activations = self.problem, self.latents, self.activations
        (n_groups, n_rows, F), (J, T) = latents.Z.shape, activations.H.shape
        self.n_threads = torch.get_num_threads()
        product_bytes = _native.cpu().search_product_bytes(self.products, J, T, F, self.n_threads)
        memory = {
            "target": self.Xt,
            "groups": latents.groups,
            "latents": latents.Z,
            "latents_first_moment": latents.moments[0],
            "latents_second_moment": latents.moments[1],
            "entries": latents.entries,
            "constants": latents.constants,
            "log_likelihoods": latents.log_likelihoods,
            "stash": latents.stash,
            "flow_scratch": latents.scratch,
            "activations": activations.H,
            "activations_first_moment": activations.moments[0],
            "activations_second_moment": activations.moments[1],
            "active": activations.active,
            "sums": self.Xt.new_empty(T),
            "total": self.Xt.new_empty(T),
            "attributed": self.Xt.new_empty(T),
            "residual": self.Xt.new_empty(T, F),
            "gradient": None if problem.per_frame else self.Xt.new_empty(J, F),
            "correlation": self.Xt.new_empty(J, T),
            "likelihood_gradient": torch.empty_like(latents.log_likelihoods),
            "product_scratch": None if problem.per_frame else buffer(product_bytes),
        }
        self.search = _native.cpu().Search(
            latents.flow.native,
            self.schedule,
            n_features=F,
            n_groups=n_groups,
            n_rows=n_rows,
            n_activations=J,
            n_frames=T,
            per_frame=problem.per_frame,
            data_likelihood=problem.likelihood == "data",
            n_fixed=problem.n_fixed,
            penalty=problem.penalty,
            sparsity=problem.sparsity,
            epsilon=problem.epsilon,
            products=self.products,
            n_threads=self.n_threads,
            **{name: address(tensor) for name, tensor in memory.items()},
        )
        # The search holds addresses: the tensors must live as long as it.
        self.memory = memory

    def _tell(self, costs: list[float]) -> None:
        """Bring the view of the schedule in Python up to date."""
        self.controller.history += costs
        self.controller.step_size = self.schedule.step_size
        self.controller.stop_reason = self.schedule.stop_reason

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
        self._begin()

    def advance(self, n_steps: int = 1) -> None:
        """Z half-step, decode, H half-step, schedule; up to `n_steps` times."""
        every = survivors.DROP_EVERY
        while n_steps > 0 and self.controller.stop_reason is None:
            n_done = len(self.controller.history) - 1
            n = min(n_steps, every - n_done % every)
            self._tell(self.search.advance(n, self.n_threads))
            n_steps -= n
            if (len(self.controller.history) - 1) % every == 0:
                self._drop_dead()

    def state(self) -> State:
        """The current dictionary and activations; dropped entries as they were last."""
        return self.survivors.state(self.D, self.activations.H, self.log_likelihoods)
