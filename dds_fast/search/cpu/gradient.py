"""The search for latent codes and activations on the CPU, compiled.

Whole update steps are native. In them, each block of rows goes through backward, Adam and the next
decode back to back, so that a step reads a flow's weights from memory once and finds them in the
cache the second time.
"""

from __future__ import annotations

import torch

from dds_fast import _native, arrays
from dds_fast.search import survivors
from dds_fast.search.cpu.weights import code_arguments, packed_flow, state_format
from dds_fast.search.problem import Problem, State
from dds_fast.search.schedule import Controller, Schedule
from dds_fast.search.search import Search


class GradientSearch(Search):
    """Holds what a native search finds; it does whole update steps, and this one judges them.

    Attributes:
        listed: the rows of the codes that still take part; the others stay as they were last.
    """

    def __init__(self, problem: Problem, schedule: Schedule, precision: str) -> None:
        assert problem.flow is not None and problem.Z is not None
        self.problem = problem
        self.controllers = [Controller(schedule)]
        self.most_steps = schedule.max_steps
        self.n_threads = torch.get_num_threads()
        flow = packed_flow(problem.flow, "decode", precision)
        Z = problem.Z.detach().clone(memory_format=torch.contiguous_format)
        H = problem.H.detach().clone(memory_format=torch.contiguous_format)
        self.entries, self.log_likelihoods = torch.empty_like(Z), Z.new_empty(Z.shape[:2])
        self.active = H.clamp_min(0)
        self.listed = torch.arange(self.log_likelihoods.numel())
        (J, T), F = H.shape, Z.shape[-1]
        self.native = _native.cpu().Search(
            flow.native,
            self.n_threads,
            n_features=F,
            n_activations=J,
            n_frames=T,
            per_frame=problem.per_frame,
            penalty=problem.penalty,
            sparsity=problem.sparsity,
            epsilon=problem.epsilon,
            products=state_format(precision),
            target=problem.X.T.contiguous(),
            activations=H,
            active=self.active,
            entries=self.entries,
            log_likelihoods=self.log_likelihoods,
            **code_arguments(problem, flow, Z),
        )
        self.controller.observe(self.native.cost)

    def _drop_dead(self) -> None:
        """Leave out the entries whose activations are dead: in their frame, or in all of them."""
        alive = self.active > 0
        if not self.problem.per_frame:
            alive = alive.any(dim=1)
        if survivors.worth_dropping(int(alive.sum()), len(self.listed)):
            self.listed = alive.flatten().nonzero()[:, 0]
            self.native.keep(alive.data_ptr(), self.n_threads)

    @arrays.isolated()
    def advance(self, n_steps: int = 1) -> None:
        """Z half-step, decode, H half-step, schedule; up to `n_steps` times."""
        controller = self.controller
        for _ in range(n_steps):
            if controller.stop_reason is not None:
                return
            n = len(controller.history)
            controller.observe(self.native.step(controller.step_size, n, self.n_threads))
            if n % survivors.DROP_EVERY == 0:
                self._drop_dead()

    def states(self) -> list[State]:
        """The current dictionary and activations; dropped entries as they were last."""
        D, log_likelihoods = self.entries.clone(), self.log_likelihoods.clone()
        if not self.problem.per_frame:
            D, log_likelihoods = D.flatten(0, 1), log_likelihoods.flatten()
        return [State(D.transpose(-1, -2), self.active.clone(), log_likelihoods)]
