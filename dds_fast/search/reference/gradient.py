"""The DDS paper's search in plain PyTorch, with analytic gradients and no autograd graph."""

from __future__ import annotations

import torch
from torch import Tensor

from dds_fast import arrays
from dds_fast.search import survivors
from dds_fast.search.problem import Problem, State
from dds_fast.search.reference import objective
from dds_fast.search.reference.decoder import Decoder
from dds_fast.search.schedule import Controller, Schedule
from dds_fast.search.search import Search
from dds_fast.search.survivors import Survivors


class GradientSearch(Search):
    """The search of one recording by Adam, codes and activations in turn.

    Z changes once per step, so one decode serves the H half-step, the cost that the schedule
    watches, and (through its stash) the next Z half-step: one forward and one backward of the
    flow per step.
    """

    def __init__(self, problem: Problem, schedule: Schedule) -> None:
        self.problem = problem
        self.controllers = [Controller(schedule)]
        self.most_steps = schedule.max_steps
        self.Xt = problem.X.T.contiguous()
        # The fused Adam walks variables and gradients through memory, whatever their strides.
        self.H = problem.H.clone(memory_format=torch.contiguous_format)
        self.survivors = Survivors(len(self.H), self.H.device)
        self.adam_H = self._adam(self.H)
        if problem.flow is not None:
            assert problem.Z is not None
            self.decoder = Decoder(
                problem.flow,
                problem.Z,
                problem.n_fixed,
                likelihood=problem.likelihood,
                per_frame=problem.per_frame,
            )
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

    @arrays.isolated()
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

    def states(self) -> list[State]:
        """The current dictionary and activations; dropped entries as they were last."""
        fixed = self.problem.flow is None
        return [self.survivors.state(self.D, self.H, None if fixed else self.log_likelihoods)]
