"""One recording's part of a search on a GPU: all but the flow."""

from __future__ import annotations

import torch
from torch import Tensor

from dds_fast.search.gpu import latents
from dds_fast.search.gpu.decoder import Decoder
from dds_fast.search.gpu.evaluation import DeviceObjective
from dds_fast.search.gpu.schedule import DeviceSchedule
from dds_fast.search.problem import Problem, State
from dds_fast.search.schedule import Controller, Schedule
from dds_fast.search.survivors import Survivors


class Recording:
    """Activations and latent codes with their moments, objective and schedule.

    Attributes:
        D: ``(J, F)`` or ``(S, T, F)`` clipped entries.
        log_likelihoods: ``(J,)`` or ``(S, T)``; None for a fixed dictionary.
        Z: ``(G, R, F)`` latent codes; not there for a fixed dictionary.
    """

    def __init__(self, problem: Problem, schedule: Schedule, precision: str) -> None:
        self.problem = problem
        self.controller = Controller(schedule)
        self.schedule = DeviceSchedule(problem, schedule)
        self.objective = DeviceObjective(problem, precision, self.schedule)
        self.survivors = Survivors(len(problem.H), problem.H.device)
        self.H = problem.H.detach().clone(memory_format=torch.contiguous_format)
        self.active = self.H.clamp_min(0)
        self.moments = [torch.zeros_like(self.H), torch.zeros_like(self.H)]
        self.log_likelihoods: Tensor | None = None
        if problem.Z is None:
            assert problem.W is not None
            self.D = problem.W.T
            return
        self.Z = problem.Z.detach().clone(memory_format=torch.contiguous_format)
        self.latent_moments = [torch.zeros_like(self.Z), torch.zeros_like(self.Z)]
        self.n_free = self.Z.shape[-1] - problem.n_fixed

    def set_entries(self, rows: Tensor, log_det: Tensor) -> None:
        """The decoded ``(G, R, F)`` rows become the dictionary."""
        log_likelihoods = self._launch_latents(None)
        if self.problem.likelihood == "data":
            log_likelihoods -= log_det / self.n_free
        entries = rows.clamp_min(0)
        if not self.problem.per_frame:
            entries, log_likelihoods = entries.flatten(0, 1), log_likelihoods.flatten()
        self.D, self.log_likelihoods = entries, log_likelihoods

    def evaluate(self, observe: bool) -> None:
        """The objective; at the end of a step the schedule observes its cost."""
        self.objective.evaluate(self.D, self.active, self.log_likelihoods)
        self.schedule.launch(self.objective.squares, self.objective.sums, observe)

    def move_activations(self) -> None:
        """A step of Adam on H."""
        self.objective.move_activations(
            self.D, self.H, self.active, self.moments, self.log_likelihoods
        )

    def dictionary_gradients(self) -> tuple[Tensor, Tensor | None, Tensor]:
        """To the rows, to their log-determinants, and to their log-likelihoods."""
        rows = self.objective.dictionary_gradient(self.D, self.active).view(self.Z.shape)
        likelihood = self.objective.likelihood_gradient(self.active).view(self.Z.shape[:2])
        if self.problem.likelihood == "latent":
            return rows, None, likelihood
        return rows, likelihood / -self.n_free, likelihood

    def move_latents(self, gradient: Tensor, likelihood_gradient: Tensor) -> None:
        """A step of Adam on Z, with the likelihood's own part of the gradient."""
        self._launch_latents((gradient.contiguous(), likelihood_gradient))

    def move_through(self, decoder: Decoder) -> None:
        """The latents' half-step in one launch: Z, D and the log-likelihoods in place."""
        assert self.log_likelihoods is not None
        gradient, row_weights = self.objective.unscaled_gradient(self.D, self.active)
        shape = self.Z.shape
        decoder.ops.update(
            decoder.flow,
            decoder.stash,
            gradient if self.problem.per_frame else gradient.view(shape),
            row_weights,
            self.objective.likelihood_gradient(self.active).view(shape[:2]),
            self.schedule.numbers,
            self.Z,
            tuple(self.latent_moments),
            self.D.view(shape),
            self.log_likelihoods.view(shape[:2]),
            data_likelihood=self.problem.likelihood == "data",
            n_fixed=self.problem.n_fixed,
            stopped=self.schedule.stopped,
            groups=decoder.groups,
        )

    def _launch_latents(self, gradients: tuple[Tensor, Tensor] | None) -> Tensor:
        """Moves the latents, if there is a gradient; returns their log-likelihoods."""
        schedule, n_fixed = self.schedule, self.problem.n_fixed
        return latents.move(
            self.Z, self.latent_moments, gradients, schedule.numbers, schedule.counters, n_fixed
        )

    def drop_dead(self, unit_dim: int) -> Tensor | None:
        """Leave out units of the latents whose activations are dead; returns those that stay."""
        assert self.log_likelihoods is not None
        n_units = self.Z.shape[unit_dim]
        units = self.survivors.alive_units(self.active, n_units)
        if units is None:
            return None
        rows = self.survivors.keep(units, n_units, self.D, self.log_likelihoods)
        self.Z = self.Z.index_select(unit_dim, units)
        self.latent_moments = [m.index_select(unit_dim, units) for m in self.latent_moments]
        self.H, self.active = self.H[rows], self.active[rows]
        self.moments = [m[rows] for m in self.moments]
        self.D, self.log_likelihoods = self.D[rows], self.log_likelihoods[rows]
        return units

    def state(self) -> State:
        """The current dictionary and activations; dropped entries as they were last."""
        if self.problem.W is not None:
            return State(self.problem.W, self.active.clone(), None)
        return self.survivors.state(self.D, self.H, self.log_likelihoods)
