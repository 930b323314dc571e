"""The update step in plain PyTorch, with analytic gradients and no autograd graph."""

from __future__ import annotations

import math
from types import ModuleType

import torch
from torch import Tensor

from dds_fast.ops.dispatch import Request
from dds_fast.ops.flow import reference as flow_reference
from dds_fast.ops.frozen import FrozenFlow
from dds_fast.ops.objective import reference as objective
from dds_fast.ops.update_step import interface, survivors
from dds_fast.ops.update_step.interface import Problem, State
from dds_fast.ops.update_step.schedule import Controller, Schedule
from dds_fast.ops.update_step.survivors import Survivors

STASH_BYTES = 2 << 30
"""Activations of a decode are kept for the backward up to this size; beyond it the rows are
decoded in chunks, and once more in the backward."""


def can_run(request: Request, raise_error: bool = False) -> bool:
    """Whatever the reference objective can run."""
    return objective.can_run(request, raise_error)


class _Decoder:
    """Latent codes to dictionary rows and log-likelihoods, and back to gradients."""

    def __init__(self, problem: Problem, flow: FrozenFlow, ops: ModuleType) -> None:
        assert problem.Z is not None
        self.flow, self.ops = flow, ops
        self.data_likelihood = problem.likelihood == "data"
        # What can be dropped as a whole: the flows of a bank (dim 0), or the rows of a single flow.
        self.unit_dim = 0 if problem.per_frame or flow.n_groups > 1 else 1
        self.fixed, self.free = problem.Z.tensor_split([problem.n_fixed], dim=-1)
        self.free = self.free.clone()
        row_bytes = flow_reference.stash_bytes_per_row(flow) * flow.n_groups
        self.chunk = max(1, STASH_BYTES // row_bytes)
        self.keep = self.chunk >= self.free.shape[1]
        self.stash: flow_reference.Stash | None = None

    def _latents(self, rows: slice) -> Tensor:
        return torch.cat([self.fixed[:, rows], self.free[:, rows]], dim=-1)

    def _chunks(self) -> list[slice]:
        n_rows = self.free.shape[1]
        return [slice(i, i + self.chunk) for i in range(0, n_rows, self.chunk)]

    def decode(self) -> tuple[Tensor, Tensor]:
        """``(G, R, F)`` clipped rows and ``(G, R)`` log-likelihoods at the current latents."""
        entries = self.free.new_empty((*self.free.shape[:2], self.flow.n_features))
        log_det = self.free.new_empty(self.free.shape[:2])
        self.stash = None
        for rows in self._chunks():
            x, log_det[:, rows], stash = self.ops.forward(
                self.flow, self._latents(rows), "decode", self.keep
            )
            torch.clamp_min(x, 0, out=entries[:, rows])
            if self.keep:
                self.stash = stash
        D = self.free.shape[-1]
        log_likelihoods = -0.5 * math.log(2 * math.pi) - self.free.square().sum(-1) / (2 * D)
        if self.data_likelihood:
            log_likelihoods -= log_det / D
        return entries, log_likelihoods

    def backward(self, grad_rows: Tensor, grad_log_likelihoods: Tensor) -> Tensor:
        """Gradient to the free latents."""
        D = self.free.shape[-1]
        grad_log_det = -grad_log_likelihoods / D if self.data_likelihood else None
        grad_free = torch.empty_like(self.free)
        for rows in self._chunks():
            stash = self.stash
            if stash is None:
                stash = self.ops.forward(self.flow, self._latents(rows), "decode", True)[2]
            grad = self.ops.backward(
                self.flow,
                stash,
                grad_rows[:, rows],
                None if grad_log_det is None else grad_log_det[:, rows],
                "decode",
            )
            grad_free[:, rows] = grad[..., self.fixed.shape[-1] :]
        self.stash = None
        return grad_free.addcmul_(self.free, grad_log_likelihoods[..., None], value=-1.0 / D)

    def keep_only(self, units: Tensor) -> None:
        """Go on with the given flows or rows; what was decoded before is void."""
        if self.unit_dim == 0:
            self.flow = self.flow.select(units)
        self.free = self.free.index_select(self.unit_dim, units)
        self.fixed = self.fixed.index_select(self.unit_dim, units)
        self.stash = None


class UpdateStep(interface.UpdateStep):
    """Reference implementation; `flow_ops` is the flow backend that it decodes with."""

    flow_ops: ModuleType = flow_reference

    def __init__(self, problem: Problem, schedule: Schedule, precision: str | None = None) -> None:
        self.problem = problem
        self.controller = Controller(schedule)
        self.Xt = problem.X.T.contiguous()
        self.H = problem.H.clone()
        self.survivors = Survivors(len(self.H), self.H.device)
        self.adam_H = self._adam(self.H)
        if problem.flow is not None:
            self.decoder = _Decoder(problem, problem.flow, self.flow_ops)
            self.adam_Z = self._adam(self.decoder.free)
            self._decode()
        else:
            assert problem.W is not None
            self.D = problem.W.T.contiguous()
            self.log_likelihoods = self.H.new_zeros(self.H.shape[0])
        self._evaluate()
        self.controller.observe(self.at.cost)

    def _adam(self, variable: Tensor) -> torch.optim.Adam:
        return torch.optim.Adam([variable], lr=self.controller.step_size, fused=True)

    def _decode(self) -> None:
        entries, log_likelihoods = self.decoder.decode()
        if not self.problem.per_frame:
            entries, log_likelihoods = entries.flatten(0, 1), log_likelihoods.flatten()
        self.D, self.log_likelihoods = entries, log_likelihoods

    def _evaluate(self) -> None:
        """The objective at the current dictionary and activations."""
        problem = self.problem
        self.active = self.H if problem.projected else self.H.clamp_min(0)
        self.at = objective.evaluate(
            self.Xt,
            self.D,
            self.active,
            self.log_likelihoods,
            problem.penalty,
            problem.epsilon,
            problem.sparsity,
        )

    def _move(self, adam: torch.optim.Adam, variable: Tensor, gradient: Tensor) -> None:
        adam.param_groups[0]["lr"] = self.controller.step_size
        # The fused Adam walks both through memory side by side, whatever their strides.
        variable.grad = gradient.contiguous()
        adam.step()
        variable.grad = None

    def _step_latents(self) -> None:
        grad_D = objective.gradient_dictionary(self.at, self.D, self.active)
        grad_l = objective.gradient_log_likelihoods(
            self.at, self.active, self.log_likelihoods, self.problem.penalty
        )
        shape = self.decoder.free.shape[:2]
        gradient = self.decoder.backward(grad_D.view(*shape, -1), grad_l.view(shape))
        self._move(self.adam_Z, self.decoder.free, gradient)
        self._decode()
        self._evaluate()

    def _step_activations(self) -> None:
        gradient = objective.gradient_activations(
            self.at,
            self.D,
            self.active,
            self.log_likelihoods,
            self.problem.penalty,
            self.problem.sparsity,
        )
        if not self.problem.projected:
            gradient *= self.active > 0
        self._move(self.adam_H, self.H, gradient)
        if self.problem.projected:
            self.H.clamp_min_(0)
        self._evaluate()

    def _drop_dead(self) -> None:
        """Leave out the flows or rows whose activations are dead in every frame."""
        decoder = self.decoder
        n_units = decoder.free.shape[decoder.unit_dim]
        units = self.survivors.alive_units(self.active, n_units)
        if units is None:
            return
        rows = self.survivors.keep(units, n_units, self.D, self.log_likelihoods)
        latents = decoder.free
        decoder.keep_only(units)
        self.adam_Z = self._adam_of(self.adam_Z, latents, decoder.free, decoder.unit_dim, units)
        activations, self.H = self.H, self.H[rows]
        self.adam_H = self._adam_of(self.adam_H, activations, self.H, 0, rows)
        self._decode()
        self._evaluate()

    def _adam_of(
        self, adam: torch.optim.Adam, variable: Tensor, kept: Tensor, dim: int, units: Tensor
    ) -> torch.optim.Adam:
        """An optimizer of the kept part of a variable, with its moments."""
        moments = adam.state[variable]
        adam = self._adam(kept)
        adam.state[kept] = {
            name: value if name == "step" else value.index_select(dim, units)
            for name, value in moments.items()
        }
        return adam

    def advance(self, n_steps: int = 1) -> None:
        """Z half-step, decode, H half-step, schedule; up to `n_steps` times."""
        for _ in range(n_steps):
            if self.controller.stop_reason is not None:
                return
            if self.problem.flow is not None:
                self._step_latents()
            self._step_activations()
            self.controller.observe(self.at.cost)
            n_steps_done = len(self.controller.history) - 1
            if self.problem.flow is not None and n_steps_done % survivors.DROP_EVERY == 0:
                self._drop_dead()

    def state(self) -> State:
        """The current dictionary and activations; dropped entries as they were last."""
        fixed = self.problem.flow is None
        return self.survivors.state(self.D, self.H, None if fixed else self.log_likelihoods)
