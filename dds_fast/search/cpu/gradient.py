"""The search for latent codes and activations on the CPU, compiled.

Whole update steps are native. In them, each block of rows goes through backward, Adam and the next
decode back to back, so that a step reads a flow's weights from memory once and finds them in the
cache the second time.
"""

from __future__ import annotations

from dataclasses import asdict

import torch
from torch import Tensor

from dds_fast import _native
from dds_fast.search import survivors
from dds_fast.search.cpu.weights import address, buffer, packed_flow, state_format
from dds_fast.search.problem import Problem, State, log_likelihoods_of
from dds_fast.search.reference import decoder
from dds_fast.search.schedule import Controller, Schedule
from dds_fast.search.search import Search


class _Latents:
    """Latent codes with their moments, and the dictionary that is decoded from them.

    Only the rows in `listed` still take part; the others stay as they were last.
    """

    def __init__(self, problem: Problem, precision: str) -> None:
        assert problem.flow is not None and problem.Z is not None
        self.flow = packed_flow(problem.flow, "decode", precision)
        self.data_likelihood, self.n_fixed = problem.likelihood == "data", problem.n_fixed
        self.Z = problem.Z.detach().clone(memory_format=torch.contiguous_format)
        moments = torch.zeros_like(self.Z[..., self.n_fixed :])
        self.moments = [moments.contiguous(), moments.clone(memory_format=torch.contiguous_format)]
        self.entries = torch.empty_like(self.Z)
        self.log_likelihoods = self.Z.new_empty(self.Z.shape[:2])
        self.keep_only(torch.ones(self.Z.shape[:2], dtype=torch.bool))

    def keep_only(self, alive: Tensor) -> None:
        """Go on with these of the ``(G, R)`` rows."""
        self.listed = alive.flatten().nonzero()[:, 0]
        self.offsets = torch.zeros(len(alive) + 1, dtype=torch.int64)
        torch.cumsum(alive.sum(1), 0, out=self.offsets[1:])
        self._decode()

    def _decode(self) -> None:
        """The dictionary ``(G, R, F)`` and its ``(G, R)`` log-likelihoods at the latents as they
        are, and what their gradient needs, if there is room to keep it."""
        shape, n_threads = self.Z.shape[:2], torch.get_num_threads()
        native = self.flow.native
        stash_bytes = len(self.listed) * native.stash_row_bytes
        self.stash = buffer(stash_bytes) if stash_bytes <= decoder.STASH_BYTES else None
        self.scratch = self.flow.scratch(*shape, self.stash is None, n_threads, self.offsets)
        log_det = torch.zeros_like(self.log_likelihoods)
        native.forward(
            *shape,
            self.offsets.data_ptr(),
            self.listed.data_ptr(),
            self.Z.data_ptr(),
            self.entries.data_ptr(),
            log_det.data_ptr(),
            address(self.stash),
            self.scratch.data_ptr(),
            n_threads,
        )
        self.entries.clamp_min_(0)
        log_likelihoods = log_likelihoods_of(
            self.Z[..., self.n_fixed :],
            log_det + self.flow.constants[:, None],
            "data" if self.data_likelihood else "latent",
        )
        listed = self.listed
        self.log_likelihoods.view(-1)[listed] = log_likelihoods.view(-1)[listed]


class _Activations:
    """Activations ``(J, T)`` with their moments; `active` is their positive part."""

    def __init__(self, H: Tensor) -> None:
        self.H = H.detach().clone(memory_format=torch.contiguous_format)
        self.active = self.H.clamp_min(0)
        self.moments = [torch.zeros_like(self.H), torch.zeros_like(self.H)]


class GradientSearch(Search):
    """Holds the memory of a native search, which does whole update steps."""

    def __init__(self, problem: Problem, schedule: Schedule, precision: str) -> None:
        self.problem = problem
        self.controllers = [Controller(schedule)]
        self.most_steps = schedule.max_steps
        self.schedule = _native.cpu().Schedule(**asdict(schedule))
        self.products = state_format(precision)
        self.Xt = problem.X.T.contiguous()
        self.latents = _Latents(problem, precision)
        self.activations = _Activations(problem.H)
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
            "offsets": latents.offsets,
            "listed": latents.listed,
            "latents": latents.Z,
            "latents_first_moment": latents.moments[0],
            "latents_second_moment": latents.moments[1],
            "entries": latents.entries,
            "constants": latents.flow.constants,
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
        """Leave out the entries whose activations are dead: in their frame, or in all of them."""
        latents, active = self.latents, self.activations.active
        alive = active > 0
        if not self.problem.per_frame:
            alive = alive.any(dim=1)
        if survivors.worth_dropping(int(alive.sum()), len(latents.listed)):
            latents.keep_only(alive.view(latents.Z.shape[:2]))
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

    def states(self) -> list[State]:
        """The current dictionary and activations; dropped entries as they were last."""
        state = State(
            self.D.clone().transpose(-1, -2),
            self.activations.active.clone(),
            self.log_likelihoods.clone(),
        )
        return [state]
